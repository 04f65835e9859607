//! Exchanges.

use super::{Command, columns_argument, failure::no_vhost, output, output::Column, output::column, texts};

pub(super) const LIST_EXCHANGES: Command = Command {
    name: "list_exchanges",
    about: "List the exchanges of a vhost",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        let vhost = context.vhost.clone();
        let wanted = texts(arguments, "columns");
        let listed = output::list(context, &["exchanges", &vhost], COLUMNS, &["name", "type"], &wanted);
        listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
    },
};

const COLUMNS: &[Column] = &[
    column("name"),
    column("type"),
    column("durable"),
    column("auto_delete"),
    column("internal"),
    column("arguments"),
    column("policy"),
    column("vhost"),
];
