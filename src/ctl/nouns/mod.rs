//! rabbitmqadmin's commands: a verb and a noun (`declare queue`), or a noun and a verb (`queues declare`). Both are made
//! of one table of nouns.

mod more;
mod policies;
mod table;
pub(super) mod values;

use super::output::Rows;
use super::{Command, Context, Failure, client, failure::no_vhost, progress, texts};
use clap::{Arg, ArgAction, ArgMatches};
use more::{GROUPS_WITHOUT_NOUN, More};
use serde_json::{Value, json};
use table::{NOUNS, Noun, SAME, Verb};
use values::Values;

/// The verbs, the groups of the nouns, and groups that have no noun.
pub(super) fn commands() -> impl Iterator<Item = Command> {
    let verbs = Verb::ALL.into_iter().map(|verb| Command { name: verb.name(), about: verb.about(), ..GROUP });
    let plurals = NOUNS.iter().map(|noun| noun.plural).filter(|plural| !plural.is_empty());
    let groups = plurals.chain(GROUPS_WITHOUT_NOUN);
    verbs.chain(groups.map(|name| Command { name, ..GROUP }))
}

/// A command whose subcommands are in the tables.
const GROUP: Command = Command {
    name: "",
    about: "A group of commands by rabbitmqadmin's names",
    arguments: |command| {
        let below: Vec<_> = entries(command.get_name()).map(|(name, does)| does.form(name)).collect();
        command.subcommand_required(true).subcommands(below)
    },
    run: |context, arguments| {
        let Some((name, arguments)) = arguments.subcommand() else { return Ok(()) };
        let entry = entries(context.command).find(|(known, _)| *known == name);
        entry.map_or(Ok(()), |(_, does)| match does {
            Does::Verb(verb, noun) => run(context, noun, verb, arguments),
            Does::More(more) => (more.run)(context, arguments),
        })
    },
};

/// What a subcommand does.
enum Does {
    Verb(Verb, &'static Noun),
    More(&'static More),
}

impl Does {
    fn form(&self, name: &'static str) -> clap::Command {
        match self {
            Does::Verb(verb, noun) => form(name, noun, *verb),
            Does::More(more) => (more.arguments)(clap::Command::new(name).about(more.about)),
        }
    }
}

/// The subcommands of a verb or a group.
fn entries(group: &str) -> impl Iterator<Item = (&'static str, Does)> {
    let verb = Verb::ALL.into_iter().find(|verb| verb.name() == group);
    let nouns = NOUNS.iter().filter(move |noun| verb.is_some_and(|verb| noun.verbs.contains(&verb)));
    let of_verb = nouns.filter_map(move |noun| Some((named(noun, verb?), Does::Verb(verb?, noun))));
    let noun = NOUNS.iter().find(|noun| noun.plural == group);
    let verbs = noun.into_iter().flat_map(|noun| noun.verbs.iter().map(move |verb| (noun, *verb)));
    let of_noun = verbs.map(|(noun, verb)| (verb.name(), Does::Verb(verb, noun)));
    let own = group.to_owned();
    let others = SAME.iter().filter(move |(of, ..)| *of == own).filter_map(|(_, name, verb, noun)| {
        let noun = NOUNS.iter().find(|known| named(known, *verb) == *noun)?;
        Some((*name, Does::Verb(*verb, noun)))
    });
    let own = group.to_owned();
    let more = more::all().filter(move |more| more.group == own).map(|more| (more.name, Does::More(more)));
    of_verb.chain(of_noun).chain(others).chain(more)
}

/// Whether a command is a group, which help does not show: most of it says the same the other way round.
pub(super) fn is_group(command: &str) -> bool {
    let is_plural = NOUNS.iter().any(|noun| !noun.plural.is_empty() && noun.plural == command);
    is_plural || GROUPS_WITHOUT_NOUN.contains(&command)
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
            .args(noun.list_by.iter().map(by))
            .args(["page", "page-size"].map(|name| {
                let number = Arg::new(name).long(name).value_name("NUMBER");
                number.value_parser(clap::value_parser!(u64).range(1..)).help("Only so much of the list")
            }))
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
            let command = match verb {
                Verb::Close => command.arg(switch("idempotently", "One that is not there is fine")),
                _ => command,
            };
            command.about(about).args(values::arguments(in_path))
        }
    }
}

/// The option for a field that a list is asked by.
fn by(field: &values::Field) -> Arg {
    let option = Arg::new(field.option).long(field.option).value_name("TEXT").help(field.help);
    let option = option.required(field.need == values::Need::Must);
    if field.option == "username" { option.short('u') } else { option }
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
            match closed {
                Err(Failure::NotFound(_)) if arguments.get_flag("idempotently") => {}
                closed => closed.map_err(|failure| missing(context, noun, &values, failure))?,
            }
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

/// The path of a list, as far as what it goes on with is given; and whether that is so of the vhost.
fn list_path(context: &Context<'_>, noun: &Noun, arguments: &ArgMatches) -> (Vec<String>, bool) {
    let mut path = Vec::new();
    for part in noun.list.split('/') {
        let given = match variable(part) {
            None => Some(part.to_owned()),
            Some("vhost") => {
                let vhost = context.is_vhost_given.then(|| context.vhost.clone());
                path.extend(vhost.clone());
                return (path, vhost.is_some());
            }
            Some(key) => arguments.get_one::<String>(key).cloned(),
        };
        match given {
            Some(part) => path.push(part),
            None => break,
        }
    }
    (path, false)
}

fn list(context: &mut Context<'_>, noun: &Noun, arguments: &ArgMatches) -> Result<(), Failure> {
    let wanted: Vec<String> =
        ["columns", "words"].into_iter().flat_map(|name| texts(arguments, name)).collect();
    let fields: Vec<&str> = match &wanted[..] {
        [] => noun.columns.to_vec(),
        wanted => wanted.iter().map(String::as_str).collect(),
    };
    let vhost = context.vhost.clone();
    let (path, is_of_vhost) = list_path(context, noun, arguments);
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    // What has a vhost, but no list of one, is looked through here.
    let is_looked_through = context.is_vhost_given && !is_of_vhost && noun.columns.contains(&"vhost");
    let asked = fields.iter().copied().chain(is_looked_through.then_some("vhost"));
    let asked = asked.collect::<Vec<_>>().join(",");
    let missing = |failure: Failure| match noun.list_by {
        _ if is_of_vhost => failure.or_missing(|| no_vhost(&vhost)),
        [by] if by.option.starts_with("user") => failure.or_missing(|| {
            Failure::NoUser(arguments.get_one::<String>(by.option).cloned().unwrap_or_default())
        }),
        _ => failure,
    };
    let number = |name: &str| arguments.get_one::<u64>(name).copied();
    let pages: Box<dyn Iterator<Item = Result<Vec<Value>, Failure>>> =
        match (number("page"), number("page-size")) {
            (None, None) => Box::new(context.client.pages(&path, &asked)),
            (page, size) => {
                let page = context.client.page(&path, &asked, page.unwrap_or(1), size.unwrap_or(100));
                Box::new(std::iter::once(page))
            }
        };
    let mut rows = Rows::new(&mut context.output, &fields);
    for page in pages {
        let mut page = page.map_err(missing)?;
        page.retain(|object| !is_looked_through || object["vhost"] == vhost.as_str());
        let cells = |object: &Value| fields.iter().map(|field| client::at(object, field).clone()).collect();
        rows.write(page.iter().map(cells).collect())?;
    }
    Ok(rows.finish()?)
}
