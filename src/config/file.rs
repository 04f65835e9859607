//! RabbitMQ's configuration file format: `key = value` a line, `#` comments, quotes. PURE.
//!
//! What the keys mean is not known here.

use super::{Assignment, Origin, Problem};
use std::path::Path;

/// The assignments of a file, in its order; lines that are none go to `problems`.
pub(super) fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Vec<Assignment> {
    let mut assignments = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let origin = Origin::Line(path.to_owned(), index + 1);
        match parse_line(line) {
            Ok(None) => {}
            Ok(Some((key, value))) => {
                assignments.push(Assignment { key: key.to_owned(), value: value.to_owned(), origin });
            }
            Err(reason) => problems.push(Problem { origin, text: reason.to_owned() }),
        }
    }
    assignments
}

/// A line's key and value, or none for an empty line or a comment.
fn parse_line(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, value) = line.split_once('=').ok_or("expected `key = value`")?;
    let key = key.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if key.is_empty() || !key.chars().all(is_key) {
        return Err("expected `key = value`, with a key of letters, digits, dots and underscores");
    }
    parse_value(value.trim()).map(|value| Some((key, value)))
}

/// A value without its quotes and without the comment behind it. Only in quotes may it contain a `#`.
fn parse_value(value: &str) -> Result<&str, &'static str> {
    let Some(quote) = value.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let value = value.split('#').next().unwrap_or_default().trim_end();
        return if value.is_empty() { Err("the value is missing") } else { Ok(value) };
    };
    let (value, rest) = value[1..].split_once(quote).ok_or("the closing quote is missing")?;
    let rest = rest.trim_start();
    if rest.is_empty() || rest.starts_with('#') { Ok(value) } else { Err("text behind the closing quote") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_rabbitmq_reads_them() {
        for (line, expected) in [
            ("", Ok(None)),
            ("  # heartbeat = 10", Ok(None)),
            ("heartbeat = 10", Ok(Some(("heartbeat", "10")))),
            ("  heartbeat=10   # seconds", Ok(Some(("heartbeat", "10")))),
            ("default_pass = 'a#b = \"c\"' # quoted", Ok(Some(("default_pass", "a#b = \"c\"")))),
            ("default_pass = \"it's\"", Ok(Some(("default_pass", "it's")))),
            ("default_permissions.read = a=b c", Ok(Some(("default_permissions.read", "a=b c")))),
            ("default_permissions.read = ''", Ok(Some(("default_permissions.read", "")))),
            ("heartbeat", Err("expected `key = value`")),
            ("heartbeat = # none", Err("the value is missing")),
            ("default_pass = 'abc", Err("the closing quote is missing")),
            ("default_pass = 'abc' d", Err("text behind the closing quote")),
        ] {
            assert_eq!(parse_line(line), expected, "{line}");
        }
    }

    #[test]
    fn a_bad_line_is_named_by_its_number_and_the_rest_still_counts() {
        let mut problems = Vec::new();
        let path = Path::new("warren.conf");
        let assignments = parse(path, "# first\nnonsense\nheartbeat = 10\n", &mut problems);
        assert_eq!(problems[0].origin, Origin::Line(path.to_owned(), 2));
        assert_eq!(assignments.len(), 1);
        assert_eq!(assignments[0].origin, Origin::Line(path.to_owned(), 3));
    }
}
