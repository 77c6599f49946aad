//! trunkline-lab
