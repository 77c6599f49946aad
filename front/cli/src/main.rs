//! trunkline-cli
fn main() {}
