//! RabbitMQ's configuration files: `key = value` a line, `#` comments, quotes, `include FILE`.
//!
//! What the keys mean is not known here. Beside a file, those in `conf.d` are read, as RabbitMQ does.

use super::layers::{Assignment, Finding, Origin, Verdict};
use std::io;
use std::path::{Path, PathBuf};

/// So deep may files include one another.
const INCLUDES_MAX: usize = 8;
/// A larger file is none of settings.
const BYTES_MAX: u64 = 4 << 20;

/// The assignments of a file and of those it brings along, in the order in which they count.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) assignments: Vec<Assignment>,
    pub(super) findings: Vec<Finding>,
}

impl Files {
    /// Reads a file and then those of `conf.d` beside it; of a directory, its files that end in `.conf`, by name.
    ///
    /// A name without its `.conf` is completed, as RabbitMQ does.
    pub(super) fn read(&mut self, path: &Path) {
        if path.is_dir() {
            return self.read_directory(path);
        }
        let with_ending = PathBuf::from(format!("{}.conf", path.display()));
        let path = if !path.exists() && with_ending.exists() { &with_ending } else { path };
        self.read_file(path, INCLUDES_MAX);
        let folder = path.parent().unwrap_or(Path::new(""));
        self.read_directory(&folder.join("conf.d"));
        let advanced = folder.join("advanced.config");
        if advanced.exists() {
            self.say(Origin::File(advanced), Verdict::Warning, ADVANCED);
        }
    }

    /// Reads the files of a directory; one that is not there has none.
    fn read_directory(&mut self, path: &Path) {
        match in_directory(path, "", ".conf") {
            Ok(files) => files.iter().for_each(|file| self.read_file(file, INCLUDES_MAX)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.fail(path, &error),
        }
    }

    fn read_file(&mut self, path: &Path, includes_left: usize) {
        let text = match std::fs::metadata(path).map(|metadata| metadata.len()) {
            Ok(bytes) if bytes > BYTES_MAX => {
                Err(io::Error::other("it is too large to be a file of settings"))
            }
            _ => std::fs::read_to_string(path),
        };
        match text {
            Ok(text) if is_erlang(&text) => self.say(Origin::File(path.to_owned()), Verdict::Error, ERLANG),
            Ok(text) => self.parse(path, &text, includes_left),
            Err(error) => self.fail(path, &error),
        }
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        let text = format!("cannot read the configuration file: {error}");
        self.say(Origin::File(path.to_owned()), Verdict::Error, &text);
    }

    fn say(&mut self, origin: Origin, verdict: Verdict, text: &str) {
        self.findings.push(Finding::of_place(origin, verdict, text));
    }

    /// Takes the lines of a text; those that are none are told.
    pub(super) fn parse(&mut self, path: &Path, text: &str, includes_left: usize) {
        for (index, line) in text.lines().enumerate() {
            let origin = Origin::Line(path.to_owned(), index + 1);
            match parse_line(line) {
                Ok(Line::Empty) => {}
                Ok(Line::Setting(key, value)) => {
                    let (key, value) = (key.to_owned(), value.to_owned());
                    self.assignments.push(Assignment { key, value, origin });
                }
                Ok(Line::Include(_)) if includes_left == 0 => {
                    self.say(origin, Verdict::Error, "files include one another without end");
                }
                Ok(Line::Include(name)) => self.include(path, origin, name, includes_left - 1),
                Err(reason) => self.say(origin, Verdict::Error, reason),
            }
        }
    }

    /// Reads the file of that name, which may have a `*` in its last part, seen from the file that names it.
    fn include(&mut self, from: &Path, origin: Origin, name: &str, includes_left: usize) {
        let path = from.parent().unwrap_or(Path::new("")).join(name);
        let last = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((start, end)) = last.split_once('*') else {
            return self.read_file(&path, includes_left);
        };
        match in_directory(path.parent().unwrap_or(Path::new("")), start, end) {
            Ok(files) => files.iter().for_each(|file| self.read_file(file, includes_left)),
            Err(error) => self.say(origin, Verdict::Error, &format!("cannot include {name}: {error}")),
        }
    }
}

const ADVANCED: &str = "Erlang terms are not read: what it sets is not obeyed. Write what is needed as `key = value` into \
                        the configuration file";
const ERLANG: &str =
    "this is RabbitMQ's classic format (Erlang terms). Write the settings as `key = value`, a line each";

/// Whether a text is a list of Erlang terms.
fn is_erlang(text: &str) -> bool {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('%'));
    first.is_some_and(|line| line.starts_with('['))
}

/// The files of a directory whose names begin and end so, by name.
fn in_directory(path: &Path, start: &str, end: &str) -> io::Result<Vec<PathBuf>> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// What a line is.
#[derive(Debug, PartialEq)]
enum Line<'a> {
    Empty,
    Setting(&'a str, &'a str),
    Include(&'a str),
}

/// A line's key and value.
fn parse_line(line: &str) -> Result<Line<'_>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(Line::Empty);
    }
    if let Some(name) = line.strip_prefix("include ").filter(|rest| !rest.trim_start().starts_with('=')) {
        return parse_value(name.trim()).map(Line::Include);
    }
    let (key, value) = line.split_once('=').ok_or("expected `key = value`")?;
    let key = key.trim();
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
    if key.is_empty() || !key.chars().all(is_key) {
        return Err("expected `key = value`, with a key of letters, digits, dots and underscores");
    }
    parse_value(value.trim()).map(|value| Line::Setting(key, value))
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
            ("", Ok(Line::Empty)),
            ("  # heartbeat = 10", Ok(Line::Empty)),
            ("heartbeat = 10", Ok(Line::Setting("heartbeat", "10"))),
            ("  heartbeat=10   # seconds", Ok(Line::Setting("heartbeat", "10"))),
            ("default_pass = 'a#b = \"c\"' # quoted", Ok(Line::Setting("default_pass", "a#b = \"c\""))),
            ("default_pass = \"it's\"", Ok(Line::Setting("default_pass", "it's"))),
            ("default_permissions.read = a=b c", Ok(Line::Setting("default_permissions.read", "a=b c"))),
            ("default_permissions.read = ''", Ok(Line::Setting("default_permissions.read", ""))),
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
        let mut files = Files::default();
        let path = Path::new("warren.conf");
        files.parse(path, "# first\nnonsense\nheartbeat = 10\n", INCLUDES_MAX);
        assert_eq!(files.findings[0].origin, Origin::Line(path.to_owned(), 2));
        assert_eq!(files.assignments.len(), 1);
        assert_eq!(files.assignments[0].origin, Origin::Line(path.to_owned(), 3));
    }

    /// The keys of what is read, in their order, and what is said.
    fn read(files: &[(&str, &str)], first: &str) -> (Vec<String>, Vec<String>) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("conf.d")).unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let mut read = Files::default();
        read.read(&directory.path().join(first));
        let root = format!("{}/", directory.path().display());
        (
            read.assignments.into_iter().map(|assignment| assignment.key).collect(),
            read.findings.iter().map(|finding| finding.to_string().replace(&root, "")).collect(),
        )
    }

    #[test]
    fn files_of_conf_d_are_read_after_the_file_beside_it_by_name() {
        let files = [
            ("rabbitmq.conf", "a = 1"),
            ("conf.d/20-b.conf", "c = 1"),
            ("conf.d/10-a.conf", "b = 1"),
            ("conf.d/10-a.conf.bak", "nonsense"),
        ];
        let none = Vec::<String>::new();
        let abc = ["a", "b", "c"].map(str::to_owned).to_vec();
        assert_eq!(read(&files, "rabbitmq.conf"), (abc.clone(), none.clone()));
        assert_eq!(
            read(&files, "rabbitmq"),
            (abc.clone(), none.clone()),
            "as RABBITMQ_CONFIG_FILE may have it"
        );
        assert_eq!(read(&files, "conf.d"), (abc[1..].to_vec(), none));
    }

    #[test]
    fn a_file_can_include_others_and_not_itself_for_ever() {
        let files = [
            ("a.conf", "a = 1\ninclude more-*.conf # both\ninclude 'last.conf'\nz = 1"),
            ("more-2.conf", "c = 1"),
            ("more-1.conf", "b = 1"),
            ("last.conf", "d = 1"),
        ];
        assert_eq!(read(&files, "a.conf").0, ["a", "b", "c", "d", "z"]);
        let (keys, said) = read(&[("a.conf", "a = 1\ninclude a.conf")], "a.conf");
        assert_eq!(keys.len(), INCLUDES_MAX + 1);
        assert_eq!(said, ["a.conf:2: files include one another without end"]);
        let (_, said) = read(&[("a.conf", "include gone.conf")], "a.conf");
        assert!(said[0].starts_with("gone.conf: cannot read the configuration file: "), "{said:?}");
    }

    #[test]
    fn erlang_terms_are_told_from_settings() {
        let (_, said) = read(&[("a.conf", "%% old\n[{rabbit, []}].")], "a.conf");
        assert_eq!(said, [format!("a.conf: {ERLANG}")]);
        let (keys, said) = read(&[("a.conf", "a = 1"), ("advanced.config", "[].")], "a.conf");
        assert_eq!((keys.len(), said), (1, vec![format!("advanced.config: {ADVANCED}")]));
    }
}
