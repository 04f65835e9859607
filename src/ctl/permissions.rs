//! Permissions of users in vhosts.

use super::{
    Command, Context, Failure, failure::no_vhost, output, output::Column, output::column, text, users,
};
use clap::{Arg, ArgMatches};
use serde_json::json;

pub(super) const SET_PERMISSIONS: Command = Command {
    name: "set_permissions",
    about: "Set what a user may configure, write and read in a vhost (regular expressions; '' = nothing)",
    arguments: |command| {
        let names = [("user", "USER"), ("configure", "CONFIGURE"), ("write", "WRITE"), ("read", "READ")];
        command.args(names.map(|(name, shown)| Arg::new(name).value_name(shown).required(true)))
    },
    run: set,
};

pub(super) const CLEAR_PERMISSIONS: Command = Command {
    name: "clear_permissions",
    about: "Take a user's permissions in a vhost away",
    arguments: |command| command.arg(Arg::new("user").value_name("USER").required(true)),
    run: clear,
};

pub(super) const LIST_PERMISSIONS: Command = Command {
    name: "list_permissions",
    about: "List the permissions in a vhost",
    arguments: |command| command,
    run: |context, _| {
        let vhost = context.vhost.clone();
        let path = ["vhosts", &vhost, "permissions"];
        let listed = output::list(context, &path, COLUMNS, &["user", "configure", "write", "read"], &[]);
        listed.map_err(|failure| failure.or_missing(|| no_vhost(&vhost)))
    },
};

pub(super) const LIST_USER_PERMISSIONS: Command = Command {
    name: "list_user_permissions",
    about: "List the permissions of a user in all vhosts",
    arguments: |command| command.arg(Arg::new("user").value_name("USER").required(true)),
    run: |context, arguments| {
        let user = text(arguments, "user");
        let path = ["users", user, "permissions"];
        let listed = output::list(context, &path, COLUMNS, &["vhost", "configure", "write", "read"], &[]);
        listed.map_err(|failure| failure.or_missing(|| Failure::NoUser(user.to_owned())))
    },
};

const COLUMNS: &[Column] =
    &[column("user"), column("vhost"), column("configure"), column("write"), column("read")];

fn set(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let user = text(arguments, "user");
    let body = json!({
        "configure": text(arguments, "configure"),
        "write": text(arguments, "write"),
        "read": text(arguments, "read"),
    });
    let outcome = context.client.put(&["permissions", &context.vhost, user], &body);
    match outcome {
        Err(refused @ (Failure::Data(_) | Failure::NotFound(_))) => {
            return Err(missing_part(context, user)?.unwrap_or(refused));
        }
        outcome => outcome?,
    }
    let note = format!("Set the permissions of user '{user}' in vhost '{}'.", context.vhost);
    context.output.note(&note)
}

fn clear(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let user = text(arguments, "user");
    match context.client.delete(&["permissions", &context.vhost, user]) {
        // Without permissions there is nothing to clear, as long as there are such a user and vhost.
        Err(Failure::NotFound(_)) => missing_part(context, user)?.map_or(Ok(()), Err)?,
        outcome => outcome?,
    }
    let note = format!("User '{user}' has no permissions in vhost '{}'.", context.vhost);
    context.output.note(&note)
}

/// Which of user and vhost is not there. The API's answer does not tell them apart.
pub(super) fn missing_part(context: &Context<'_>, user: &str) -> Result<Option<Failure>, Failure> {
    match users::find(context, user) {
        Err(missing @ Failure::NoUser(_)) => return Ok(Some(missing)),
        found => found?,
    };
    match context.client.get(&["vhosts", &context.vhost]) {
        Err(Failure::NotFound(_)) => Ok(Some(no_vhost(&context.vhost))),
        found => found.map(|_| None),
    }
}
