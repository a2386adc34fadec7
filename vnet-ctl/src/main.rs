//! vnetctl
fn main() {}
