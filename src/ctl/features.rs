//! Feature flags and deprecated features.

use super::{
    Command, Context, columns_argument, failure::Failure, output, output::Column, output::column, text, texts,
};
use clap::{Arg, ArgAction};
use serde_json::json;

pub(super) const LIST_FEATURE_FLAGS: Command = Command {
    name: "list_feature_flags",
    about: "List feature flags: what the broker can of what RabbitMQ has flags for",
    arguments: |command| command.arg(columns_argument()),
    run: |context, arguments| {
        output::list(context, &["feature-flags"], FLAGS, &["name", "state"], &texts(arguments, "columns"))
    },
};

pub(super) const ENABLE_FEATURE_FLAG: Command = Command {
    name: "enable_feature_flag",
    about: "Make sure that a feature flag is on: they all are",
    arguments: |command| {
        let opt_in = Arg::new("opt-in").long("opt-in").alias("experimental").action(ArgAction::SetTrue);
        let flag = Arg::new("flag").value_name("FLAG").required(true).help("A feature flag, or all");
        command.arg(flag).arg(opt_in.hide(true))
    },
    run: |context, arguments| enable(context, text(arguments, "flag")),
};

/// Makes sure that a feature flag is on, or `all` are.
pub(super) fn enable(context: &mut Context<'_>, flag: &str) -> Result<(), Failure> {
    if flag == "all" {
        context.client.get(&["feature-flags"])?;
        return context.output.note("All feature flags are on.");
    }
    let put = context.client.put(&["feature-flags", flag, "enable"], &json!({}));
    put.map_err(|failure| match failure {
        Failure::Data(_) | Failure::NotFound(_) => Failure::Data(format!(
            "there is no feature flag '{flag}'; `warrenctl list_feature_flags` lists those there are"
        )),
        failure => failure,
    })?;
    context.output.note(&format!("Feature flag '{flag}' is on."))
}

pub(super) const LIST_DEPRECATED_FEATURES: Command = Command {
    name: "list_deprecated_features",
    about: "List features that clients should not rely on",
    arguments: |command| {
        let used = Arg::new("used").long("used").action(ArgAction::SetTrue);
        command.arg(used.help("Only those that are in use now")).arg(columns_argument())
    },
    run: |context, arguments| {
        let path = ["deprecated-features", "used"];
        let path = if arguments.get_flag("used") { &path[..] } else { &path[..1] };
        let default = &["name", "deprecation_phase"];
        output::list(context, path, DEPRECATED, default, &texts(arguments, "columns"))
    },
};

const FLAGS: &[Column] = &[
    column("name"),
    column("state"),
    column("stability"),
    column("provided_by"),
    column("desc"),
    column("doc_url"),
];

const DEPRECATED: &[Column] =
    &[column("name"), column("deprecation_phase"), column("provided_by"), column("desc"), column("doc_url")];
