//! rabbitmqadmin's commands: a verb and a noun (`declare queue`), or a noun and a verb (`queues declare`). Both are made
//! of one table of nouns.

mod table;
pub(super) mod values;

use super::output::Rows;
use super::{Command, Context, Failure, client, failure::no_vhost, progress, texts};
use clap::{Arg, ArgAction, ArgMatches};
use serde_json::{Value, json};
use table::{NOUNS, Noun, Verb};
use values::Values;

/// The verbs, and the groups of the nouns.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    let verbs = Verb::ALL.into_iter().map(|verb| Command {
        name: verb.name(),
        about: verb.about(),
        arguments: |command| {
            let verb = verb_of(command.get_name());
            let nouns = NOUNS.iter().filter(|noun| verb.is_some_and(|verb| noun.verbs.contains(&verb)));
            let nouns = nouns.filter_map(|noun| Some(form(named(noun, verb?), noun, verb?)));
            command.subcommand_required(true).subcommands(nouns.collect::<Vec<_>>())
        },
        run: |context, arguments| {
            let Some((noun, arguments)) = arguments.subcommand() else { return Ok(()) };
            let verb = verb_of(context.command);
            let noun = NOUNS.iter().find(|of| verb.is_some_and(|verb| named(of, verb) == noun));
            noun.zip(verb).map_or(Ok(()), |(noun, verb)| run(context, noun, verb, arguments))
        },
    });
    let groups = NOUNS.iter().filter(|noun| !noun.plural.is_empty()).map(|noun| Command {
        name: noun.plural,
        about: "A group of commands by rabbitmqadmin's names",
        arguments: |command| {
            let noun = group_of(command.get_name());
            let verbs =
                noun.iter().flat_map(|noun| noun.verbs.iter().map(|verb| form(verb.name(), noun, *verb)));
            command.subcommand_required(true).subcommands(verbs.collect::<Vec<_>>())
        },
        run: |context, arguments| {
            let Some((verb, arguments)) = arguments.subcommand() else { return Ok(()) };
            let parts = group_of(context.command).zip(verb_of(verb));
            parts.map_or(Ok(()), |(noun, verb)| run(context, noun, verb, arguments))
        },
    });
    verbs.chain(groups)
}

/// Whether a command is the group of a noun, which help does not show: it says the same the other way round.
pub(super) fn is_group(command: &str) -> bool {
    group_of(command).is_some()
}

fn verb_of(name: &str) -> Option<Verb> {
    Verb::ALL.into_iter().find(|verb| verb.name() == name)
}

fn group_of(name: &str) -> Option<&'static Noun> {
    NOUNS.iter().find(|noun| noun.plural == name)
}

/// What the verb calls the noun.
fn named(noun: &Noun, verb: Verb) -> &'static str {
    if verb == Verb::List { noun.plural } else { noun.name }
}

/// The command line of a verb with a noun.
fn form(name: &'static str, noun: &Noun, verb: Verb) -> clap::Command {
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    let command = clap::Command::new(name);
    let in_path = noun.fields.iter().filter(|field| is_in_path(noun, field.key));
    match verb {
        Verb::Declare => command.about("Declares it").args(values::arguments(noun.fields.iter())),
        Verb::List => command
            .about("Lists them")
            .arg(Arg::new("columns").long("columns").value_name("FIELDS").help("Fields, separated by commas"))
            .arg(Arg::new("words").value_name("FIELD").num_args(0..).help("The same without dashes")),
        Verb::Delete => {
            let command =
                command.about("Deletes it").arg(switch("idempotently", "One that is not there is fine"));
            let command = match noun.name {
                "queue" => command
                    .arg(switch("if-empty", "Only if it has no messages"))
                    .arg(switch("if-unused", "Only if nobody uses it")),
                "exchange" => command.arg(switch("if-unused", "Only if nobody uses it")),
                _ => command,
            };
            // A binding is known by all that it says.
            match noun.name {
                "binding" => command.args(values::arguments(noun.fields.iter())),
                _ => command.args(values::arguments(in_path)),
            }
        }
        Verb::Show | Verb::Purge | Verb::Close => {
            let about = match verb {
                Verb::Show => "Shows it",
                Verb::Purge => "Removes all its ready messages",
                _ => "Closes it",
            };
            command.about(about).args(values::arguments(in_path))
        }
    }
}

fn is_in_path(noun: &Noun, key: &str) -> bool {
    noun.path.split('/').any(|part| variable(part) == Some(key))
}

fn variable(part: &str) -> Option<&str> {
    part.strip_prefix('{')?.strip_suffix('}')
}

fn run(context: &mut Context<'_>, noun: &Noun, verb: Verb, arguments: &ArgMatches) -> Result<(), Failure> {
    if verb == Verb::List {
        return list(context, noun, arguments);
    }
    let needs_all = verb == Verb::Declare || noun.name == "binding";
    let wanted = noun.fields.iter().filter(|field| needs_all || is_in_path(noun, field.key));
    let wanted: Vec<values::Field> = wanted.copied().collect();
    let (values, vhost) = values::read(arguments, &wanted, noun.name)?;
    if let Some(vhost) = vhost {
        context.vhost = vhost;
    }
    let path = path(context, noun, &values)?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match verb {
        Verb::Declare => declare(context, noun, &path, &values),
        Verb::Delete => delete(context, noun, &path, &values, arguments),
        Verb::Show => show(context, noun, &path, &values),
        Verb::Purge => {
            let turning = progress::spinner(&context.output, "purging");
            let purged = context.client.delete(&[&path[..], &["contents"]].concat());
            turning.finish_and_clear();
            purged.map_err(|failure| missing(context, noun, &values, failure))?;
            done(context, "Purged", noun, &values)
        }
        Verb::Close => {
            let closed = context.client.delete(&path);
            closed.map_err(|failure| missing(context, noun, &values, failure))?;
            done(context, "Closed", noun, &values)
        }
        Verb::List => Ok(()),
    }
}

/// The parts of the path.
fn path(context: &Context<'_>, noun: &Noun, values: &Values) -> Result<Vec<String>, Failure> {
    let part = |part: &str| match variable(part) {
        None => Ok(part.to_owned()),
        Some("vhost") => Ok(context.vhost.clone()),
        Some(key) => match (key, values.get(key).and_then(Value::as_str).unwrap_or_default()) {
            // Paths have no empty parts; this is what the default exchange is called there.
            ("source", "") => Ok("amq.default".to_owned()),
            (key, "") => Err(Failure::Usage(format!("--{key} must not be empty"))),
            (_, text) => Ok(text.to_owned()),
        },
    };
    noun.path.split('/').map(part).collect()
}

/// It, as people know it.
fn described(context: &Context<'_>, noun: &Noun, values: &Values) -> String {
    let names: Vec<&str> =
        noun.known_by.iter().filter_map(|key| values.get(*key).and_then(Value::as_str)).collect();
    let noun_name = noun.name.replace('_', " ");
    let place =
        if noun.path.contains("{vhost}") { format!(" in vhost '{}'", context.vhost) } else { String::new() };
    format!("{noun_name} '{}'{place}", names.join("', '"))
}

fn done(context: &mut Context<'_>, verb: &str, noun: &Noun, values: &Values) -> Result<(), Failure> {
    let note = format!("{verb} {}.", described(context, noun, values));
    context.output.note(&note)
}

/// What it was that is not there.
fn missing(context: &Context<'_>, noun: &Noun, values: &Values, failure: Failure) -> Failure {
    let user = if noun.name == "user" { "name" } else { "user" };
    let it = || match values.get(user).and_then(Value::as_str) {
        Some(user) if noun.path.starts_with("user") => Failure::NoUser(user.to_owned()),
        _ => {
            let advice = match noun.plural {
                "" | "user_connections" => String::new(),
                plural => format!("; `warrenctl list {plural}` lists those that do"),
            };
            Failure::Data(format!("{} does not exist{advice}", described(context, noun, values)))
        }
    };
    if noun.path.contains("{vhost}") { context.missing(failure, it) } else { failure.or_missing(it) }
}

fn declare(context: &mut Context<'_>, noun: &Noun, path: &[&str], values: &Values) -> Result<(), Failure> {
    let body = values::body(noun.fields, values, |key| is_in_path(noun, key));
    let outcome = match noun.name {
        // There may be many between the same two.
        "binding" => context.client.post(path, &body).map(drop),
        _ => context.client.put(path, &body),
    };
    outcome.map_err(|failure| missing_part(context, noun, values, failure))?;
    done(context, "Declared", noun, values)
}

/// What it was that is not there for something to be declared. The API does not tell user and vhost apart.
fn missing_part(context: &Context<'_>, noun: &Noun, values: &Values, failure: Failure) -> Failure {
    let is_reference = matches!(&failure, Failure::Data(reason) if reason.contains("not_found"));
    if !is_reference && !matches!(failure, Failure::NotFound(_)) {
        return failure;
    }
    let is_missing = |path: &[&str]| matches!(context.client.get(path), Err(Failure::NotFound(_)));
    if noun.path.contains("{vhost}") && is_missing(&["vhosts", &context.vhost]) {
        return no_vhost(&context.vhost);
    }
    if let Some(user) = values.get("user").and_then(Value::as_str)
        && is_missing(&["users", user])
    {
        return Failure::NoUser(user.to_owned());
    }
    if noun.name == "binding" {
        let [source, destination] = ["source", "destination"].map(|key| client::text_of(values, key));
        return Failure::Data(format!(
            "exchange '{source}' or '{destination}' does not exist in vhost '{}'; declare both before they are bound",
            context.vhost
        ));
    }
    failure.or_missing(|| Failure::Data(format!("{} cannot be declared", described(context, noun, values))))
}

fn delete(
    context: &mut Context<'_>,
    noun: &Noun,
    path: &[&str],
    values: &Values,
    arguments: &ArgMatches,
) -> Result<(), Failure> {
    let is_set = |name: &&str| matches!(arguments.try_get_one::<bool>(name), Ok(Some(true)));
    let conditions: Vec<_> =
        ["if-empty", "if-unused"].into_iter().filter(is_set).map(|name| (name, "true")).collect();
    let outcome = if noun.name == "binding" {
        delete_binding(context, path, values)
    } else {
        context.client.delete_if(path, &conditions, None)
    };
    match outcome {
        Err(Failure::NotFound(_)) if is_set(&"idempotently") => {}
        outcome => outcome.map_err(|failure| missing(context, noun, values, failure))?,
    }
    done(context, "Deleted", noun, values)
}

/// Bindings between the same two are known by a key that the broker makes.
fn delete_binding(context: &Context<'_>, path: &[&str], values: &Values) -> Result<(), Failure> {
    let bindings = context.client.get(path)?;
    let arguments = values.get("arguments").cloned().unwrap_or_else(|| json!({}));
    let is_meant = |binding: &&Value| {
        binding["routing_key"] == values["routing_key"] && binding["arguments"] == arguments
    };
    let binding = bindings.as_array().into_iter().flatten().find(is_meant);
    let binding = binding.ok_or_else(|| Failure::NotFound(path.join("/")))?;
    context.client.delete(&[path, &[client::text(binding, "properties_key")]].concat())
}

fn show(context: &mut Context<'_>, noun: &Noun, path: &[&str], values: &Values) -> Result<(), Failure> {
    let shown = context.client.get(path);
    let shown = shown.map_err(|failure| missing(context, noun, values, failure))?;
    let shown = if noun.part.is_empty() { &shown } else { &shown[noun.part] };
    context.output.object(shown.as_object().cloned().unwrap_or_default())
}

fn list(context: &mut Context<'_>, noun: &Noun, arguments: &ArgMatches) -> Result<(), Failure> {
    let wanted: Vec<String> =
        ["columns", "words"].into_iter().flat_map(|name| texts(arguments, name)).collect();
    let fields: Vec<&str> = match &wanted[..] {
        [] => noun.columns.to_vec(),
        wanted => wanted.iter().map(String::as_str).collect(),
    };
    let vhost = context.vhost.clone();
    let (path, is_per_vhost) = noun.list;
    let mut path: Vec<&str> = path.split('/').collect();
    if is_per_vhost && context.is_vhost_given {
        path.push(&vhost);
    }
    let asked = fields.join(",");
    let mut rows = Rows::new(&mut context.output, &fields);
    for page in context.client.pages(&path, &asked) {
        let page = page.map_err(|failure| match is_per_vhost {
            true => failure.or_missing(|| no_vhost(&vhost)),
            false => failure,
        })?;
        let cells = |object: &Value| fields.iter().map(|field| client::at(object, field).clone()).collect();
        rows.write(page.iter().map(cells).collect())?;
    }
    Ok(rows.finish()?)
}
