//! trunkline-bench
fn main() {}
