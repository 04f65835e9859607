//! The headers exchange: bindings say which headers a message must have; keys are ignored. PURE.

use super::{Error, ExchangeType, Matches, Publish, Router};
use crate::arguments::{self, Table, Value};
use crate::definition::{Binding, Destination};
use crate::name::BindingKey;
use std::collections::BTreeMap;

/// The argument that says how a binding's other arguments count.
const X_MATCH: &str = "x-match";

#[derive(Debug)]
pub(super) struct Headers;

impl ExchangeType for Headers {
    fn name(&self) -> &'static str {
        "headers"
    }

    fn description(&self) -> &'static str {
        "Routes to the bindings whose arguments the message's headers match"
    }

    fn check_binding(&self, binding: &Binding) -> Result<(), Error> {
        XMatch::of(&binding.arguments).map(|_| ())
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::<HeadersRouter>::default()
    }
}

#[derive(Debug, Default)]
struct HeadersRouter {
    /// By destination, since a destination needs but one match.
    rules: BTreeMap<Destination, Vec<Rule>>,
}

impl Router for HeadersRouter {
    fn bind(&mut self, binding: &Binding) {
        self.rules.entry(binding.destination.clone()).or_default().push(Rule::of(binding));
    }

    fn unbind(&mut self, binding: &Binding) {
        let Some(rules) = self.rules.get_mut(&binding.destination) else { return };
        let is_gone = |rule: &Rule| rule.key == binding.key && rule.arguments == binding.arguments;
        if let Some(index) = rules.iter().position(is_gone) {
            rules.swap_remove(index);
        }
        if rules.is_empty() {
            self.rules.remove(&binding.destination);
        }
    }

    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>) {
        let headers = publish.headers();
        let is_match = |rules: &[Rule]| rules.iter().any(|rule| rule.matches(headers));
        matches.extend_with_new(self.rules.iter().filter(|(_, rules)| is_match(rules)).map(|(to, _)| to));
    }

    fn by_key_alone(&self) -> bool {
        false
    }
}

/// What one binding asks for.
#[derive(Debug)]
struct Rule {
    key: BindingKey,
    arguments: Table,
    x_match: XMatch,
}

impl Rule {
    fn of(binding: &Binding) -> Self {
        Self {
            key: binding.key.clone(),
            arguments: binding.arguments.clone(),
            // Definitions of an old broker, which did not check, may hold anything: RabbitMQ reads it as `all`.
            x_match: XMatch::of(&binding.arguments).unwrap_or_default(),
        }
    }

    fn matches(&self, headers: &Table) -> bool {
        for (name, wanted) in self.arguments.inner() {
            let name = name.as_str();
            if name == X_MATCH || (!self.x_match.with_x && name.starts_with("x-")) {
                continue;
            }
            // Void asks for presence alone.
            let is_match = arguments::get(headers, name)
                .is_some_and(|value| *wanted == Value::Void || arguments::equivalent(wanted, value));
            if is_match == self.x_match.any {
                return is_match;
            }
        }
        !self.x_match.any
    }
}

/// `x-match`, read.
#[derive(Clone, Copy, Debug, Default)]
struct XMatch {
    /// One matching argument suffices; else all must match.
    any: bool,
    /// Arguments that begin with `x-` count, too.
    with_x: bool,
}

impl XMatch {
    fn of(arguments: &Table) -> Result<Self, Error> {
        let Some(value) = arguments::get(arguments, X_MATCH) else { return Ok(Self::default()) };
        match arguments::as_text(value) {
            Some("all") => Ok(Self { any: false, with_x: false }),
            Some("any") => Ok(Self { any: true, with_x: false }),
            Some("all-with-x") => Ok(Self { any: false, with_x: true }),
            Some("any-with-x") => Ok(Self { any: true, with_x: true }),
            _ => Err(refusal(value)),
        }
    }
}

fn refusal(value: &Value) -> Error {
    match value {
        Value::LongString(_) | Value::ShortString(_) => Error::XMatchValue { value: arguments::plain(value) },
        // RabbitMQ's word for a value that is none.
        Value::Void => Error::XMatchType { kind: "void", value: "undefined".into() },
        other => Error::XMatchType { kind: arguments::type_name(other), value: arguments::plain(other) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &[(&str, Value)]) -> Table {
        let mut table = Table::default();
        for (name, value) in fields {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    fn text(text: &str) -> Value {
        Value::LongString(text.into())
    }

    fn binding(to: &str, arguments: Table) -> Binding {
        Binding {
            source: "h".into(),
            destination: Destination::Queue(to.into()),
            key: "ignored".into(),
            arguments,
        }
    }

    #[test]
    fn arguments_match_headers_as_x_match_says() {
        let two = [("a", Value::LongInt(1)), ("b", text("x"))];
        let (a, b) = (two[0].clone(), two[1].clone());
        let x = ("x-c", Value::Boolean(true));
        let match_by = |how: &str| (X_MATCH, text(how));
        for (arguments, headers, is_match) in [
            (vec![], vec![], true),
            (vec![], vec![a.clone()], true),
            (two.to_vec(), two.to_vec(), true),
            (two.to_vec(), vec![a.clone()], false),
            (vec![match_by("all"), a.clone()], two.to_vec(), true),
            (vec![a.clone()], vec![("a", Value::LongLongInt(1))], true),
            (vec![a.clone()], vec![("a", text("1"))], false),
            (vec![a.clone()], vec![("a", Value::LongInt(2))], false),
            (vec![("a", Value::Void)], vec![("a", text("anything"))], true),
            (vec![("a", Value::Void)], vec![b.clone()], false),
            (vec![a.clone()], vec![("a", Value::Void)], false),
            (vec![match_by("any")], vec![a.clone()], false),
            (vec![match_by("any"), a.clone(), b.clone()], vec![b.clone()], true),
            (vec![match_by("any"), a.clone(), b.clone()], vec![], false),
            (vec![a.clone(), x.clone()], vec![a.clone()], true),
            (vec![match_by("any"), x.clone()], vec![x.clone()], false),
            (vec![match_by("all-with-x"), a.clone(), x.clone()], vec![a.clone()], false),
            (vec![match_by("all-with-x"), a.clone(), x.clone()], vec![a.clone(), x.clone()], true),
            (vec![match_by("any-with-x"), a.clone(), x.clone()], vec![x.clone()], true),
            (vec![match_by("any-with-x")], vec![match_by("any-with-x")], false),
        ] {
            let rule = Rule::of(&binding("q", table(&arguments)));
            assert_eq!(rule.matches(&table(&headers)), is_match, "{arguments:?} and {headers:?}");
        }
    }

    #[test]
    fn an_invalid_x_match_is_refused_in_rabbitmqs_words() {
        let refusal = |value| {
            let binding = binding("q", table(&[(X_MATCH, value)]));
            Headers.check_binding(&binding).unwrap_err().to_string()
        };
        assert_eq!(
            refusal(text("foo")),
            r#"Invalid x-match field value <<"foo">>; expected all, any, all-with-x, or any-with-x"#
        );
        assert_eq!(
            refusal(Value::LongInt(1)),
            "Invalid x-match field type signedint (value 1); expected longstr"
        );
        assert_eq!(
            refusal(Value::Void),
            "Invalid x-match field type void (value undefined); expected longstr"
        );
    }

    #[test]
    fn a_queue_bound_twice_gets_one_copy_until_both_bindings_are_gone() {
        let one = binding("q", table(&[("a", Value::Void)]));
        let other = binding("q", table(&[("b", Value::Void)]));
        let mut router = HeadersRouter::default();
        router.bind(&one);
        router.bind(&other);
        let found = |router: &HeadersRouter| {
            let rules = router.rules.values().flatten();
            let headers = table(&[("a", text("")), ("b", text(""))]);
            (router.rules.len(), rules.filter(|rule| rule.matches(&headers)).count())
        };
        assert_eq!(found(&router), (1, 2));
        router.unbind(&one);
        router.unbind(&one);
        assert_eq!(found(&router), (1, 1));
        router.unbind(&other);
        assert_eq!(found(&router), (0, 0));
    }
}
