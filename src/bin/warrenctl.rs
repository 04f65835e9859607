//! The admin tool: arguments → command → exit code.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let code = warren::ctl::run(std::env::args_os(), &mut out, &mut io::stderr().lock());
    // A reader that went away (`| head`) is no failure; a full disk is.
    match out.flush() {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            eprintln!("Error: cannot write the output: {error}");
            ExitCode::from(74)
        }
        _ => ExitCode::from(code),
    }
}
