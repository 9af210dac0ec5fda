//! ncat.
fn main() {}
