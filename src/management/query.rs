//! The query of a request, and what it asks of a list: filter, sort, page, columns. PURE.
//!
//! Rows are rendered to JSON as late as possible: only those of the page that is asked for, and of all others no more than
//! what they are sorted by. A long list is made in parts while it is sent.

use super::error::Error;
use super::view::fields::Wanted;
use regex::{Regex, RegexBuilder};
use serde_json::{Map, Value, json};
use std::cmp::Ordering;

/// Rows of a page when the size is not given.
const PAGE_SIZE_DEFAULT: usize = 100;
/// The most rows of a page.
const PAGE_SIZE_MAX: usize = 500;
/// About so much of a long list is made at once.
const PART_BYTES: usize = 64 << 10;

/// A request's query, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn new(pairs: Vec<(String, String)>) -> Query {
        Query(pairs)
    }

    /// The first value of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// All values of that name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether the value of that name is `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }

    /// A whole number, none where it is not given.
    fn number(&self, name: &str) -> Result<Option<usize>, Error> {
        let parse = |text: &str| text.parse().map_err(|_| invalid());
        self.get(name).map(parse).transpose()
    }
}

fn invalid() -> Error {
    Error::BadRequest("Pagination parameters are invalid".into())
}

/// A list as it is answered.
pub(super) enum Listing {
    /// A page, or a list that is short.
    Short(Value),
    /// The rows of a long one, to be made while they are sent.
    Long(Box<dyn Rows>),
}

/// Rows that are made while they are sent.
pub(super) trait Rows: Send {
    /// The JSON of the next rows, as a part of the list; empty behind its end.
    fn next_part(&mut self) -> Vec<u8>;
}

/// Answers a list as the query asks: a page, if it names one, else all of it.
///
/// `rows` are in the order that the list has by itself; `name` is what the filter looks at. `render` makes a row, or
/// those fields of it that are wanted; it may make more. Where `among` names fields, there are no others.
pub(super) fn list<R: Send + 'static>(
    query: &Query,
    among: Option<&[&str]>,
    rows: Vec<R>,
    name: impl Fn(&R) -> &str,
    render: impl Fn(&R, &Wanted) -> Value + Send + 'static,
) -> Result<Listing, Error> {
    let page = Page::from_query(query)?;
    let total = rows.len();
    let mut kept: Vec<R> = match page.as_ref().and_then(|page| page.filter.as_ref()) {
        Some(filter) => rows.into_iter().filter(|row| filter.keeps(name(row))).collect(),
        None => rows,
    };
    let filtered = kept.len();
    let range = page.as_ref().map_or(Ok(0..filtered), |page| page.range(filtered))?;
    let limited = |wanted: Wanted| among.map_or_else(|| wanted.clone(), |names| wanted.among(names));
    if let Some(key) = query.get("sort").filter(|key| !key.is_empty()) {
        let by = limited(Wanted::these([key]));
        kept = sort(kept, key, query.is_true("sort_reverse"), |row| render(row, &by));
    }
    kept.truncate(range.end);
    let kept = kept.split_off(range.start);
    let wanted = limited(wanted(query));
    let query = query.clone();
    let render = move |row: &R| columns(&query, render(row, &wanted));
    let Some(page) = page else {
        return Ok(if kept.len() <= PAGE_SIZE_MAX {
            Listing::Short(kept.iter().map(render).collect())
        } else {
            Listing::Long(Box::new(Parts {
                rows: kept.into_iter(),
                render,
                has_begun: false,
                has_ended: false,
            }))
        });
    };
    let items: Vec<Value> = kept.iter().map(render).collect();
    Ok(Listing::Short(json!({
        "total_count": total,
        "filtered_count": filtered,
        "item_count": items.len(),
        "page": page.number,
        "page_size": page.size,
        "page_count": filtered.div_ceil(page.size).max(1),
        "items": items,
    })))
}

/// The rows in the order of what stands under a dotted path of what is rendered. As in RabbitMQ, a field that is missing is
/// a 0, and one that is null is behind all numbers.
fn sort<R>(rows: Vec<R>, key: &str, is_reverse: bool, render: impl Fn(&R) -> Value) -> Vec<R> {
    let value = |row: &R| take(render(row), key).unwrap_or_else(|| Value::from(0));
    let keyed = rows.into_iter().map(|row| (value(&row), row));
    let mut keyed: Vec<(Value, R)> = keyed.collect();
    keyed.sort_by(|left, right| compare(&left.0, &right.0));
    if is_reverse {
        keyed.reverse();
    }
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// The fields that the query's `columns` name, all where there are none.
pub(super) fn wanted(query: &Query) -> Wanted {
    match query.get("columns").filter(|columns| !columns.is_empty()) {
        Some(columns) => Wanted::these(columns.split(',')),
        None => Wanted::All,
    }
}

/// The rows of a list that are still to be sent.
struct Parts<R, F> {
    rows: std::vec::IntoIter<R>,
    render: F,
    has_begun: bool,
    has_ended: bool,
}

impl<R: Send, F: Fn(&R) -> Value + Send> Rows for Parts<R, F> {
    fn next_part(&mut self) -> Vec<u8> {
        let mut part = Vec::with_capacity(PART_BYTES + PART_BYTES / 8);
        while part.len() < PART_BYTES && !self.has_ended {
            match self.rows.next() {
                Some(row) => {
                    part.push(if self.has_begun { b',' } else { b'[' });
                    self.has_begun = true;
                    // A value has a JSON form, always.
                    let Ok(()) = serde_json::to_writer(&mut part, &(self.render)(&row)) else { continue };
                }
                None => {
                    part.extend_from_slice(if self.has_begun { b"]" } else { b"[]" });
                    self.has_ended = true;
                }
            }
        }
        part
    }
}

/// The object with those fields that the query's `columns` name, all of them where there are none.
pub(super) fn columns(query: &Query, object: Value) -> Value {
    let Some(columns) = query.get("columns").filter(|columns| !columns.is_empty()) else { return object };
    let mut chosen = Value::Object(Map::new());
    for column in columns.split(',') {
        copy(&object, &mut chosen, column);
    }
    chosen
}

/// Copies what stands under a dotted path, with the objects around it; lists are gone through item by item.
fn copy(from: &Value, into: &mut Value, path: &str) {
    let (key, rest) = path.split_once('.').map_or((path, None), |(key, rest)| (key, Some(rest)));
    let (Some(value), Value::Object(into)) = (from.get(key), into) else { return };
    match (rest, value) {
        (None, _) => {
            into.insert(key.to_owned(), value.clone());
        }
        (Some(rest), Value::Object(_)) => {
            copy(value, into.entry(key).or_insert_with(|| json!({})), rest);
        }
        (Some(rest), Value::Array(items)) => {
            let empty = || Value::Array(vec![json!({}); items.len()]);
            if let Value::Array(targets) = into.entry(key).or_insert_with(empty) {
                items.iter().zip(targets).for_each(|(item, target)| copy(item, target, rest));
            }
        }
        _ => {}
    }
}

/// A page that a query asks for.
struct Page {
    number: usize,
    size: usize,
    filter: Option<Filter>,
}

impl Page {
    fn from_query(query: &Query) -> Result<Option<Page>, Error> {
        // A size that is none is refused also where no page is asked for.
        let size = query.number("page_size")?.unwrap_or(PAGE_SIZE_DEFAULT);
        let Some(number) = query.number("page")? else { return Ok(None) };
        if number == 0 || size == 0 || size > PAGE_SIZE_MAX {
            return Err(Error::InvalidPage { page: number, size });
        }
        let filter = match query.get("name").filter(|name| !name.is_empty()) {
            None => None,
            Some(name) if query.is_true("use_regex") => {
                let regex = RegexBuilder::new(name).case_insensitive(true).build();
                Some(Filter::Regex(regex.map_err(|_| invalid())?))
            }
            Some(name) => Some(Filter::Part(name.to_lowercase())),
        };
        Ok(Some(Page { number, size, filter }))
    }

    /// The rows of the page in a list of this length.
    fn range(&self, length: usize) -> Result<std::ops::Range<usize>, Error> {
        let start = (self.number - 1).saturating_mul(self.size);
        if start > length {
            return Err(Error::PageOutOfRange { page: self.number, size: self.size, length });
        }
        Ok(start..length.min(start + self.size))
    }
}

/// Which names are kept; neither way minds upper and lower case.
enum Filter {
    Regex(Regex),
    Part(String),
}

impl Filter {
    fn keeps(&self, name: &str) -> bool {
        match self {
            Filter::Regex(regex) => regex.is_match(name),
            Filter::Part(part) => name.to_lowercase().contains(part),
        }
    }
}

/// The value under a dotted path, if it is there.
fn take(object: Value, path: &str) -> Option<Value> {
    path.split('.').try_fold(object, |mut value, key| value.get_mut(key).map(Value::take))
}

/// An order over all values, Erlang's: by kind, then by value. Null, true and false are words there.
fn compare(left: &Value, right: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::Bool(false) => 1,
        Value::Null => 2,
        Value::Bool(true) => 3,
        Value::Object(_) => 4,
        Value::Array(_) => 5,
        Value::String(_) => 6,
    };
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_f64().unwrap_or(0.0), right.as_f64().unwrap_or(0.0));
            left.total_cmp(&right)
        }
        (Value::String(left), Value::String(right)) => left.cmp(right),
        (left, right) => rank(left).cmp(&rank(right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["alpha", "Beta", "beta.2", "gamma", "x"];

    fn query(text: &str) -> Query {
        let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.into(), value.into()));
        Query::new(text.split('&').filter_map(pair).collect())
    }

    fn ask(text: &str) -> Result<Value, Error> {
        let render = |name: &&str, _: &Wanted| json!({"name": name, "length": name.len(), "nested": {"half": name.len() / 2}});
        match list(&query(text), None, NAMES.to_vec(), |name| name, render)? {
            Listing::Short(value) => Ok(value),
            Listing::Long(_) => panic!("so few are no long list"),
        }
    }

    /// The parts of a list of numbers.
    fn parts(text: &str, numbers: std::ops::Range<u64>) -> Vec<Vec<u8>> {
        let render = |number: &u64, wanted: &Wanted| {
            assert!(wanted.has("number"));
            json!({"number": number, "other": "x".repeat(100)})
        };
        let Ok(Listing::Long(mut rows)) = list(&query(text), None, numbers.collect(), |_| "", render) else {
            panic!("it is long")
        };
        std::iter::from_fn(|| Some(rows.next_part()).filter(|part| !part.is_empty())).collect()
    }

    #[test]
    fn a_long_list_is_made_in_parts_that_are_one_list() {
        let parts = parts("sort=number&sort_reverse=true&columns=number", 0..20_000);
        assert!(parts.len() > 3, "{}", parts.len());
        assert!(parts.iter().all(|part| part.len() < 2 * PART_BYTES));
        let all: Vec<Value> = serde_json::from_slice(&parts.concat()).unwrap();
        assert_eq!((all.len(), &all[0]), (20_000, &json!({"number": 19_999})));
    }

    #[test]
    fn of_rows_that_are_not_shown_only_what_they_are_sorted_by_is_made() {
        let whole = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counted = std::sync::Arc::clone(&whole);
        let render = move |name: &&str, wanted: &Wanted| {
            whole.fetch_add(usize::from(*wanted == Wanted::All), std::sync::atomic::Ordering::Relaxed);
            assert!(*wanted == Wanted::All || *wanted == Wanted::these(["length"]));
            json!({"length": name.len()})
        };
        list(&query("page=2&page_size=2&sort=length"), None, NAMES.to_vec(), |name| name, render).unwrap();
        assert_eq!(counted.load(std::sync::atomic::Ordering::Relaxed), 2);
    }

    fn names(answer: &Value) -> Vec<&str> {
        let items = answer.as_array().or_else(|| answer["items"].as_array()).unwrap();
        items.iter().map(|item| item["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn without_a_page_the_list_is_bare_and_whole() {
        assert_eq!(names(&ask("").unwrap()), NAMES);
        assert_eq!(names(&ask("name=alpha").unwrap()), NAMES, "RabbitMQ filters pages only");
    }

    #[test]
    fn a_page_has_its_rows_and_the_counts() {
        assert_eq!(
            ask("page=2&page_size=2&columns=name").unwrap(),
            json!({
                "total_count": 5, "filtered_count": 5, "item_count": 2, "page": 2, "page_size": 2, "page_count": 3,
                "items": [{"name": "beta.2"}, {"name": "gamma"}],
            })
        );
        assert_eq!(ask("page=1").unwrap()["page_size"], json!(100));
    }

    #[test]
    fn names_are_filtered_by_a_part_or_a_regular_expression() {
        let answer = ask("page=1&name=BETA").unwrap();
        assert_eq!(names(&answer), ["Beta", "beta.2"]);
        assert_eq!((&answer["total_count"], &answer["filtered_count"]), (&json!(5), &json!(2)));
        assert_eq!(names(&ask("page=1&name=^beta$&use_regex=true&pagination=false").unwrap()), ["Beta"]);
        assert_eq!(names(&ask("page=1&name=beta.2&use_regex=false").unwrap()), ["beta.2"]);
    }

    #[test]
    fn rows_are_sorted_by_a_dotted_path_before_they_are_cut_into_pages() {
        assert_eq!(
            names(&ask("sort=nested.half&sort_reverse=true&page=1&page_size=2").unwrap()),
            ["beta.2", "gamma"]
        );
        assert_eq!(names(&ask("sort=length").unwrap()), ["x", "Beta", "alpha", "gamma", "beta.2"]);
        assert_eq!(names(&ask("sort=nothing").unwrap()), NAMES);
    }

    #[test]
    fn what_is_null_is_sorted_behind_numbers_and_what_is_missing_before_them() {
        let values =
            [json!({"v": null}), json!({"v": 5}), json!({}), json!({"v": true}), json!({"v": false})];
        let sorted = sort((0..values.len()).collect(), "v", false, |row: &usize| values[*row].clone());
        assert_eq!(sorted, [2, 1, 4, 0, 3]);
    }

    #[test]
    fn columns_keep_their_nesting_and_go_into_lists() {
        let object = json!({"a": {"b": 1, "c": 2}, "l": [{"x": 1, "y": 2}, {"x": 3}], "n": null});
        for (text, expected) in [
            ("a.b", json!({"a": {"b": 1}})),
            ("a.b,a.c,n", json!({"a": {"b": 1, "c": 2}, "n": null})),
            ("l.x", json!({"l": [{"x": 1}, {"x": 3}]})),
            ("a.z", json!({"a": {}})),
            ("z", json!({})),
        ] {
            assert_eq!(columns(&query(&format!("columns={text}")), object.clone()), expected, "{text}");
        }
        assert_eq!(columns(&query(""), object.clone()), object);
    }

    #[test]
    fn bad_pages_are_refused_as_rabbitmq_refuses_them() {
        for (text, reason) in [
            ("page=9&page_size=2", "Page out of range, page: 9 page size: 2, len: 5"),
            ("page=1&page_size=501", "Invalid pagination parameters: page number 1, page size 501"),
            ("page=0", "Invalid pagination parameters: page number 0, page size 100"),
            ("page=a", "Pagination parameters are invalid"),
            ("page_size=a", "Pagination parameters are invalid"),
            ("page=1&name=[&use_regex=true", "Pagination parameters are invalid"),
        ] {
            assert_eq!(ask(text).unwrap_err().to_string(), reason);
        }
        assert_eq!(names(&ask("page=1&name=nobody").unwrap()), [""; 0]);
    }
}
