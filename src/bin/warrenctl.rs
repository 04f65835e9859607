//! The admin tool: arguments → request → table.
fn main() {}
