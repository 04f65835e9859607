//! Bindings.

use super::{
    Command, columns_argument, failure::no_vhost, output, output::Column, output::Source, output::column,
    output::column_from, texts,
};

pub(super) const LIST_BINDINGS: Command = Command {
    name: "list_bindings",
    about: "List the bindings of a vhost",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        let vhost = context.vhost.clone();
        let wanted = texts(arguments, "columns");
        let listed = output::list(context, &["bindings", &vhost], COLUMNS, DEFAULT, &wanted);
        listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
    },
};

const COLUMNS: &[Column] = &[
    column_from("source_name", "source"),
    // Messages come from nothing else.
    Column { name: "source_kind", source: Source::Constant("exchange") },
    column_from("destination_name", "destination"),
    column_from("destination_kind", "destination_type"),
    column("routing_key"),
    column("arguments"),
    column("vhost"),
];

const DEFAULT: &[&str] =
    &["source_name", "source_kind", "destination_name", "destination_kind", "routing_key", "arguments"];
