//! `warrenctl store`: work on the data directory of a stopped broker. The work itself is the library's `store::offline`;
//! here are its command line, its output and its progress bars.

use super::{Command, Context, failure::Failure, output::Rows, progress::bar, text};
use crate::store::offline::{self, Error, Place, Stats, TransferError};
use clap::{Arg, ArgMatches, value_parser};
use indicatif::ProgressBar;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};

pub(super) const STORE: Command = Command {
    name: "store",
    about: "Check, measure, compact, export or import a stopped broker's data directory",
    arguments: |command| {
        let actions = ACTIONS.iter().map(|action| {
            let bare = clap::Command::new(action.name).about(action.about).long_about(action.long_about);
            (action.arguments)(bare)
        });
        command.long_about(LONG_ABOUT).subcommand_required(true).subcommands(actions)
    },
    run: |context, arguments| {
        let (name, arguments) =
            arguments.subcommand().ok_or_else(|| Failure::Usage("a subcommand is missing".into()))?;
        let action = ACTIONS.iter().find(|action| action.name == name);
        let action = action.ok_or_else(|| Failure::Usage(format!("unknown command store {name}")))?;
        let dir = context.data_dir.clone();
        // sled can be read without being changed only in a copy.
        (action.run)(context, &Place::new(dir, std::env::temp_dir()), arguments)
    },
};

const LONG_ABOUT: &str = "\
Works on the data directory of a broker that is stopped; no other command does, and of the options about the broker \
only --data-dir matters here. The directory is locked meanwhile, so a broker cannot start on it.

`check`, `stats` and `export` change nothing. They copy sled's folder to the directory for temporary files (TMPDIR).";

/// A command below `store`.
struct Action {
    name: &'static str,
    about: &'static str,
    long_about: &'static str,
    arguments: fn(clap::Command) -> clap::Command,
    run: fn(&mut Context<'_>, &Place, &ArgMatches) -> Result<(), Failure>,
}

const ACTIONS: &[Action] = &[
    Action {
        name: "check",
        about: "Read everything and report damage; changes nothing",
        long_about: "\
Reads every record of every journal file, sled with every page of the queues' indexes, and the snapshots, verifies their \
checksums, and looks whether each message that is alive has an intact record. Changes nothing.

Exit code 0: whole. 72: damage, each with file and offset. Half a record at the end of the last file is what a crash \
leaves and no damage: the next start cuts it off. Damaged bytes are passed over by the next start, and copied to the \
folder `damaged`.",
        arguments: |command| command,
        run: |context, place, _| check(context, place),
    },
    Action {
        name: "stats",
        about: "Show what files, queues and sled take",
        long_about: "\
Lists the journal's files with the part of each that is alive, the queues with their messages, and what sled takes, what \
the last checkpoint covers, and what the next start would have to read. Changes nothing. `--format json` for scripts.",
        arguments: |command| command,
        run: |context, place, _| stats(context, place),
    },
    Action {
        name: "compact",
        about: "Make the data directory as small as it can be",
        long_about: "\
Moves living messages out of sparse journal files, deletes files in which nothing is alive, and writes sled's folder anew \
if it is much larger than what it holds. It may be interrupted at any time. It first does what every start of the broker \
does: a torn end is cut off, damaged bytes are copied to `damaged`.",
        arguments: |command| command,
        run: |context, place, _| compact(context, place),
    },
    Action {
        name: "export",
        about: "Write a queue's messages as lines of JSON; changes nothing",
        long_about: "\
Writes the messages that a start would bring back in a durable queue, oldest first, one JSON object a line: exchange, \
routing_key, properties (for reading), properties_base64 (the same, exactly as published), body_base64, redelivered, \
returns (how often it came back), failures (how often of these its consumer had failed), dead_letter, published_at (milliseconds since 1970). Changes nothing.",
        arguments: |command| with_queue(command).arg(file("output", "Where to write; else to standard output")),
        run: export,
    },
    Action {
        name: "import",
        about: "Append messages that were exported to a durable queue",
        long_about: "\
Appends the messages of lines that `export` wrote to a durable queue that exists, in order. They are durable when it \
ends. properties_base64 is what counts, not properties; without both a message has none. A line that is no message ends \
it: the messages before are in the queue then, and it says with which line to go on.",
        arguments: |command| with_queue(command).arg(file("input", "What to read; else standard input")),
        run: import,
    },
];

fn with_queue(command: clap::Command) -> clap::Command {
    // Not named `vhost`: that is the global option's.
    let vhost = Arg::new("of-vhost").value_name("VHOST").required(true).help("Vhost of the queue, such as /");
    command.arg(vhost).arg(Arg::new("queue").value_name("QUEUE").required(true).help("Name of the queue"))
}

fn file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf)).help(help)
}

fn tell(bar: &ProgressBar) -> impl FnMut(u64, u64) + '_ {
    |done, all| {
        bar.set_length(all.max(done));
        bar.set_position(done);
    }
}

fn check(context: &mut Context<'_>, place: &Place) -> Result<(), Failure> {
    let bar = bar(&context.output, "bytes");
    let checked = offline::check(place, &mut tell(&bar));
    bar.finish_and_clear();
    let checked = checked?;
    let output = &mut context.output;
    let damage = checked.damage.len();
    if output.format.is_json() {
        let value = json!({
            "files": checked.files, "bytes": checked.bytes, "records": checked.records, "pages": checked.pages,
            "queues": checked.queues, "messages": checked.messages, "damage": checked.damage,
            "notes": checked.notes, "whole": damage == 0,
        });
        writeln!(output.out, "{value}")?;
    } else {
        checked.damage.iter().try_for_each(|line| writeln!(output.out, "damage: {line}"))?;
        checked.notes.iter().try_for_each(|line| output.note(&format!("note: {line}")))?;
        let offline::Checked { files, bytes, records, pages, queues, messages, .. } = checked;
        output.note(&format!(
            "Read {files} journal files ({bytes} bytes, {records} records), {pages} pages; {queues} queues hold \
             {messages} messages."
        ))?;
        if damage == 0 {
            output.note("Everything is as it was written.")?;
        }
    }
    if damage > 0 { Err(Failure::Damaged(damage)) } else { Ok(()) }
}

fn stats(context: &mut Context<'_>, place: &Place) -> Result<(), Failure> {
    let bar = bar(&context.output, "queues");
    let found = offline::stats(place, &mut tell(&bar));
    bar.finish_and_clear();
    let found = found?;
    let files = found.files.iter().map(|file| {
        let density = format!("{}%", file.density_percent());
        vec![
            json!(file.name),
            json!(file.bytes),
            json!(file.live_bytes),
            json!(file.live_records),
            json!(density),
        ]
    });
    let queues = found.queues.iter().map(|queue| {
        let (vhost, name) = (json!(queue.vhost), json!(queue.name));
        vec![vhost, name, json!(queue.messages), json!(queue.message_bytes), json!(queue.pages)]
    });
    let file_names = ["file", "bytes", "live_bytes", "live_records", "density"];
    let queue_names = ["vhost", "queue", "messages", "message_bytes", "pages"];
    if context.output.format.is_json() {
        let value = json!({
            "files": objects(&file_names, files), "queues": objects(&queue_names, queues), "node": totals(&found),
        });
        return Ok(writeln!(context.output.out, "{value}")?);
    }
    for (names, rows) in [(file_names, files.collect::<Vec<_>>()), (queue_names, queues.collect())] {
        let mut table = Rows::new(&mut context.output, &names);
        table.write(rows)?;
        table.finish()?;
        writeln!(context.output.out)?;
    }
    let Value::Object(totals) = totals(&found) else { return Ok(()) };
    let mut table = Rows::new(&mut context.output, &["name", "value"]);
    table.write(totals.into_iter().map(|(name, value)| vec![json!(name), value]).collect())?;
    Ok(table.finish()?)
}

fn totals(stats: &Stats) -> Value {
    json!({
        "journal_bytes": stats.files.iter().map(|file| file.bytes).sum::<u64>(),
        "live_bytes": stats.files.iter().map(|file| file.live_bytes).sum::<u64>(),
        "sled_bytes": stats.sled_bytes,
        "last_checkpoint": stats.checkpoint,
        "start_reads_files": stats.start_files,
        "start_reads_bytes": stats.start_bytes,
        "warnings": stats.warnings,
    })
}

fn objects(names: &[&str], rows: impl Iterator<Item = Vec<Value>>) -> Value {
    rows.map(|row| names.iter().map(|name| (*name).to_owned()).zip(row).collect::<Value>()).collect()
}

fn compact(context: &mut Context<'_>, place: &Place) -> Result<(), Failure> {
    let bar = bar(&context.output, "files deleted");
    let compacted = offline::compact(place, &mut tell(&bar));
    bar.finish_and_clear();
    let done = compacted?;
    context.output.note(&format!(
        "Journal: {} bytes, were {}; {} messages were moved. sled: {} bytes, were {}.",
        done.journal_bytes, done.journal_bytes_before, done.moved, done.sled_bytes, done.sled_bytes_before
    ))?;
    if done.damaged > 0 {
        context.output.note("Damaged messages keep their files: see `warrenctl store check`.")?;
    }
    Ok(())
}

fn export(context: &mut Context<'_>, place: &Place, arguments: &ArgMatches) -> Result<(), Failure> {
    let (vhost, queue) = (text(arguments, "of-vhost"), text(arguments, "queue"));
    let bar = bar(&context.output, "messages");
    let exported = match arguments.get_one::<PathBuf>("output") {
        None => offline::export(place, vhost, queue, context.output.out, &mut tell(&bar)),
        Some(path) => {
            let file = File::create(path).map_err(|error| named(path, &error))?;
            let exported = offline::export(place, vhost, queue, &mut BufWriter::new(&file), &mut tell(&bar));
            // The queue may be deleted next.
            exported.and_then(|count| file.sync_all().map_err(TransferError::Text).map(|()| count))
        }
    };
    bar.finish_and_clear();
    let count = exported?;
    if arguments.get_one::<PathBuf>("output").is_some() {
        context.output.note(&format!("Exported {count} messages of queue '{queue}'."))?;
    }
    Ok(())
}

fn import(context: &mut Context<'_>, place: &Place, arguments: &ArgMatches) -> Result<(), Failure> {
    let (vhost, queue) = (text(arguments, "of-vhost"), text(arguments, "queue"));
    let mut lines: Box<dyn BufRead> = match arguments.get_one::<PathBuf>("input") {
        None => Box::new(io::stdin().lock()),
        Some(path) => Box::new(BufReader::new(File::open(path).map_err(|error| named(path, &error))?)),
    };
    let bar = bar(&context.output, "bytes");
    let imported = offline::import(place, vhost, queue, &mut lines, &mut tell(&bar));
    bar.finish_and_clear();
    let count = imported?;
    context.output.note(&format!("Imported {count} messages into queue '{queue}'."))
}

fn named(path: &Path, error: &io::Error) -> Failure {
    Failure::Data(format!("{}: {error}", path.display()))
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Locked { path, pid } => Failure::DirectoryInUse { path, pid },
            Error::Io { path, source } if source.kind() == io::ErrorKind::NotFound => Failure::NoStore(path),
            error => Failure::Store(error),
        }
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Store(error) => error.into(),
            TransferError::Text(error) => Failure::Output(error),
            TransferError::NoQueue { .. } => {
                Failure::Data(format!("{error}; `warrenctl store stats` lists those there are"))
            }
            TransferError::Damaged { .. } => Failure::DamagedQueue(error),
            error @ TransferError::Line { .. } => Failure::Data(error.to_string()),
        }
    }
}
