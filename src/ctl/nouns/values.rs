//! Fields as they are given: as options (`--auto-delete true`), or as rabbitmqadmin's first version had them
//! (`auto_delete=true`).

use super::super::{Failure, texts_as_they_are};
use clap::{Arg, ArgMatches};
use serde_json::{Map, Value};

/// A field of a noun, or of a message.
#[derive(Clone, Copy)]
pub(in crate::ctl) struct Field {
    /// The option, without its dashes.
    pub(in crate::ctl) option: &'static str,
    /// What the HTTP API calls it.
    pub(in crate::ctl) key: &'static str,
    pub(in crate::ctl) kind: Kind,
    pub(in crate::ctl) need: Need,
    pub(in crate::ctl) help: &'static str,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ctl) enum Kind {
    Text,
    /// `true` or `false`; the option alone is `true`.
    Switch,
    Number,
    Json,
    /// A text that goes into the arguments, by that name.
    Argument(&'static str),
    /// `queue` or `exchange`, as paths have it.
    Destination,
}

/// Whether a value has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ctl) enum Need {
    Must,
    May,
    Default(&'static str),
}

/// The values of fields, by key.
pub(in crate::ctl) type Values = Map<String, Value>;

/// Where the words are that stand behind a command.
const WORDS: &str = "words";
/// What is no field and may be given as one.
const VHOST: &str = "vhost";

/// Options for the fields, and room for words.
pub(in crate::ctl) fn arguments<'f>(fields: impl Iterator<Item = &'f Field>) -> Vec<Arg> {
    let option = |field: &Field| {
        let option = Arg::new(field.option).long(field.option).allow_hyphen_values(true);
        let option = match field.need {
            Need::Must => option.help(format!("{} (required)", field.help)),
            Need::Default("") | Need::May => option.help(field.help),
            Need::Default(default) => option.help(format!("{} [default: {default}]", field.help)),
        };
        match field.kind {
            _ if field.option == "username" => option.value_name("TEXT").short('u'),
            Kind::Switch => option.value_name("true|false").num_args(0..=1).default_missing_value("true"),
            Kind::Json => option.value_name("JSON"),
            Kind::Number => option.value_name("NUMBER"),
            _ => option.value_name("TEXT"),
        }
    };
    let words = Arg::new(WORDS).value_name("NAME=VALUE").num_args(0..).help("The same without dashes");
    fields.map(option).chain([words]).collect()
}

/// The values that were given or are defaults, and the vhost if one is among them. Words that say nothing but `noun`,
/// as in `publish message`, are passed over.
///
/// # Errors
/// [`Failure::Usage`] for what is missing, unknown, or no value of its kind.
pub(in crate::ctl) fn read(
    arguments: &ArgMatches,
    fields: &[Field],
    noun: &str,
) -> Result<(Values, Option<String>), Failure> {
    let mut given: Vec<(&Field, String)> = Vec::new();
    let mut vhost = None;
    for word in texts_as_they_are(arguments, WORDS) {
        let Some((name, value)) = word.split_once('=') else {
            if word == noun {
                continue;
            }
            return Err(Failure::Usage(format!("'{word}' is no NAME=VALUE; {}", known(fields))));
        };
        let is_meant = |field: &&Field| [field.key, field.option].iter().any(|own| plain(own) == plain(name));
        match fields.iter().find(is_meant) {
            Some(field) => given.push((field, value.to_owned())),
            None if name == VHOST => vhost = Some(value.to_owned()),
            None => return Err(Failure::Usage(format!("unknown name '{name}'; {}", known(fields)))),
        }
    }
    for field in fields {
        if let Some(value) = arguments.get_one::<String>(field.option) {
            given.push((field, value.clone()));
        }
    }
    let mut values = Values::new();
    for field in fields {
        let text = given.iter().rev().find(|(of, _)| of.key == field.key).map(|(_, text)| text.as_str());
        let text = match (text, field.need) {
            (Some(text), _) => text,
            (None, Need::Default(default)) => default,
            (None, Need::May) => continue,
            (None, Need::Must) => {
                return Err(Failure::Usage(format!("--{} is missing; {}", field.option, known(fields))));
            }
        };
        values.insert(field.key.to_owned(), parse(field, text)?);
    }
    Ok((values, vhost))
}

/// Names with dashes are the same as with underscores.
fn plain(name: &str) -> String {
    name.replace('-', "_")
}

fn known(fields: &[Field]) -> String {
    let options: Vec<String> = fields.iter().map(|field| format!("--{}", field.option)).collect();
    format!("there are: {}", options.join(" "))
}

fn parse(field: &Field, text: &str) -> Result<Value, Failure> {
    let option = field.option;
    let wrong = |what: &str| Failure::Usage(format!("--{option} is {what}, not '{text}'"));
    match field.kind {
        Kind::Text | Kind::Argument(_) => Ok(Value::from(text)),
        Kind::Switch => match text.to_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(Value::Bool(true)),
            "false" | "no" | "0" => Ok(Value::Bool(false)),
            _ => Err(wrong("true or false")),
        },
        Kind::Number => text.parse::<i64>().map(Value::from).map_err(|_| wrong("a whole number")),
        Kind::Json => serde_json::from_str(text)
            .map_err(|error| Failure::Usage(format!("--{option} '{text}' is no JSON: {error}"))),
        Kind::Destination => match text {
            "queue" | "q" => Ok(Value::from("q")),
            "exchange" | "e" => Ok(Value::from("e")),
            _ => Err(wrong("queue or exchange")),
        },
    }
}

/// The body of a request that has these values, but for those that the path has.
pub(in crate::ctl) fn body(fields: &[Field], values: &Values, is_in_path: impl Fn(&str) -> bool) -> Value {
    let mut body = Values::new();
    for field in fields.iter().filter(|field| !is_in_path(field.key)) {
        let Some(value) = values.get(field.key) else { continue };
        match field.kind {
            Kind::Argument(name) => {
                let arguments = body.entry("arguments").or_insert_with(|| Value::Object(Values::new()));
                if let Some(arguments) = arguments.as_object_mut() {
                    arguments.insert(name.to_owned(), value.clone());
                }
            }
            _ => match (body.get_mut(field.key), value) {
                // Arguments that stand for themselves are among the others.
                (Some(Value::Object(there)), Value::Object(more)) => there.extend(more.clone()),
                _ => drop(body.insert(field.key.to_owned(), value.clone())),
            },
        }
    }
    Value::Object(body)
}
