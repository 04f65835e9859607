//! What is made of the definitions of the commands: completions for shells, and man pages.

use super::{Command, Failure, parser};
use clap::{Arg, value_parser};
use clap_complete::Shell;
use std::io;
use std::path::{Path, PathBuf};

pub(super) const COMPLETIONS: Command = Command {
    name: "completions",
    about: "Print a script that completes commands and options in a shell",
    arguments: |command| {
        let shell = Arg::new("shell").value_name("SHELL").required(true).value_parser(value_parser!(Shell));
        command.arg(shell).after_help(
            "To have them in every bash: `warrenctl completions bash > ~/.local/share/bash-completion/completions/warrenctl`",
        )
    },
    run: |context, arguments| {
        let Some(shell) = arguments.get_one::<Shell>("shell") else { return Ok(()) };
        // The generator takes no error of the output; in memory there is none.
        let mut script = Vec::new();
        clap_complete::generate(*shell, &mut parser(), "warrenctl", &mut script);
        Ok(context.output.out.write_all(&script)?)
    },
};

pub(super) const MAN: Command = Command {
    name: "man",
    about: "Write man pages: one of the tool, and one of every command with --out",
    arguments: |command| {
        let out = Arg::new("out").long("out").value_name("DIR").value_parser(value_parser!(PathBuf));
        command.arg(out.help("Where the pages of all commands are written; else the tool's own is printed"))
    },
    run: |context, arguments| {
        let Some(dir) = arguments.get_one::<PathBuf>("out") else {
            let mut page = Vec::new();
            clap_mangen::Man::new(parser()).render(&mut page)?;
            return Ok(context.output.out.write_all(&page)?);
        };
        let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(parser(), dir));
        written.map_err(|error| named(dir, &error))?;
        context.output.note(&format!("Wrote man pages into {}.", dir.display()))
    },
};

fn named(dir: &Path, error: &io::Error) -> Failure {
    Failure::Output(io::Error::new(error.kind(), format!("{}: {error}", dir.display())))
}
