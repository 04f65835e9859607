//! The broker: arguments → configuration → run.
fn main() {}
