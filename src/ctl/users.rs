//! Users: passwords and tags.

use super::{
    Command, Context, Failure, Login, client, output, output::column, output::column_from, text, texts,
};
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};
use std::io::{self, IsTerminal};

pub(super) const ADD_USER: Command = Command {
    name: "add_user",
    about: "Create a user; without PASSWORD it is asked for, or read from standard input",
    arguments: |command| {
        let pre_hashed = Arg::new("pre-hashed").long("pre-hashed-password").action(ArgAction::SetTrue);
        with_password(command).arg(pre_hashed.help("PASSWORD is the hash of it, as hash_password prints it"))
    },
    run: add,
};

pub(super) const DELETE_USER: Command = Command {
    name: "delete_user",
    about: "Delete a user",
    arguments: |command| command.arg(name_argument()),
    run: delete,
};

pub(super) const CHANGE_PASSWORD: Command = Command {
    name: "change_password",
    about: "Change a user's password; without PASSWORD it is asked for, or read from standard input",
    arguments: with_password,
    run: change_password,
};

pub(super) const CLEAR_PASSWORD: Command = Command {
    name: "clear_password",
    about: "Take a user's password away, so that it cannot log in with one",
    arguments: |command| command.arg(name_argument()),
    run: |context, arguments| {
        let name = text(arguments, "name");
        let user = find(context, name)?;
        context.client.put(&["users", name], &json!({ "password_hash": "", "tags": user["tags"] }))?;
        context.output.note(&format!("User '{name}' has no password."))
    },
};

pub(super) const AUTHENTICATE_USER: Command = Command {
    name: "authenticate_user",
    about: "Fail if a user cannot log in with a password",
    arguments: with_password,
    run: authenticate,
};

pub(super) const HASH_PASSWORD: Command = Command {
    name: "hash_password",
    about: "Print the hash of a password, for files of definitions and add_user --pre-hashed-password",
    arguments: |command| command.arg(password_argument()),
    run: |context, arguments| {
        let password = password(arguments)?;
        let hashed = context.client.get(&["auth", "hash_password", &password])?;
        Ok(writeln!(context.output.out, "{}", client::text(&hashed, "ok"))?)
    },
};

pub(super) const SET_USER_TAGS: Command = Command {
    name: "set_user_tags",
    about: "Set a user's tags (administrator, monitoring, policymaker, management, …); none = remove all",
    arguments: |command| command.arg(name_argument()).arg(Arg::new("tags").value_name("TAG").num_args(0..)),
    run: set_tags,
};

pub(super) const LIST_USERS: Command = Command {
    name: "list_users",
    about: "List users and their tags",
    arguments: |command| command,
    run: |context, _| {
        output::list(
            context,
            &["users"],
            &[column_from("user", "name"), column("tags")],
            &["user", "tags"],
            &[],
        )
    },
};

fn name_argument() -> Arg {
    Arg::new("name").value_name("USER").required(true)
}

fn with_password(command: clap::Command) -> clap::Command {
    command.arg(name_argument()).arg(password_argument())
}

fn password_argument() -> Arg {
    Arg::new("new_password").value_name("PASSWORD").help("Visible to other users of this machine")
}

fn add(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    match context.client.get(&["users", name]) {
        Ok(_) => {
            let advice = "change_password and set_user_tags change it";
            return Err(Failure::Data(format!("user '{name}' already exists; {advice}")));
        }
        Err(Failure::NotFound(_)) => {}
        Err(failure) => return Err(failure),
    }
    let key = if arguments.get_flag("pre-hashed") { "password_hash" } else { "password" };
    context.client.put(&["users", name], &json!({ key: password(arguments)?, "tags": "" }))?;
    context.output.note(&format!(
        "Added user '{name}'. Grant it permissions with `warrenctl set_permissions {name} '.*' '.*' '.*'`."
    ))
}

/// Logs in as the user, with the HTTP API as with everything else.
fn authenticate(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let login = Login { user: name.to_owned(), password: password(arguments)? };
    match context.client.logged_in_as(&login, context.timeout).get(&["whoami"]) {
        // Without a tag for the HTTP API, which is another matter.
        Ok(_) | Err(Failure::AccessRefused { .. }) => {}
        Err(failure) => return Err(failure),
    }
    context.output.note(&format!("User '{name}' can log in with that password."))
}

fn delete(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let outcome = context.client.delete(&["users", name]);
    outcome.map_err(|failure| failure.or_missing(|| Failure::NoUser(name.to_owned())))?;
    context.output.note(&format!("Deleted user '{name}'."))
}

fn change_password(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let user = find(context, name)?;
    let body = json!({ "password": password(arguments)?, "tags": user["tags"] });
    context.client.put(&["users", name], &body)?;
    context.output.note(&format!("Changed the password of user '{name}'."))
}

fn set_tags(context: &mut Context<'_>, arguments: &ArgMatches) -> Result<(), Failure> {
    let name = text(arguments, "name");
    let user = find(context, name)?;
    let tags = texts(arguments, "tags");
    // The API replaces users as a whole: without the hash, the password would be gone.
    let body = json!({
        "tags": tags.join(","),
        "password_hash": client::text(&user, "password_hash"),
        "hashing_algorithm": client::text(&user, "hashing_algorithm"),
    });
    context.client.put(&["users", name], &body)?;
    context.output.note(&format!("User '{name}' has the tags [{}].", tags.join(", ")))
}

/// The user, or the failure that says there is none.
pub(super) fn find(context: &Context<'_>, name: &str) -> Result<Value, Failure> {
    let user = context.client.get(&["users", name]);
    user.map_err(|failure| failure.or_missing(|| Failure::NoUser(name.to_owned())))
}

/// The password that was given, typed without echo, or read from standard input.
fn password(arguments: &ArgMatches) -> Result<String, Failure> {
    let password = match arguments.get_one::<String>("new_password") {
        Some(given) => given.clone(),
        None if io::stdin().is_terminal() => rpassword::prompt_password("Password: ").map_err(no_password)?,
        None => {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(no_password)?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
    };
    if password.is_empty() {
        Err(Failure::Data("the password must not be empty".into()))
    } else {
        Ok(password)
    }
}

fn no_password(error: io::Error) -> Failure {
    Failure::Data(format!("cannot read the password ({error}); give it as an argument or on standard input"))
}
