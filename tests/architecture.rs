//! The rules of the source tree that no compiler checks, read from the text of `src/**/*.rs`.
//!
//! - Layers: a module uses its own line of [`LAYERS`] and the lines above it, nothing below.
//! - Purity: modules of a pure line touch neither the world (files, sockets, clock, chance) nor locks nor tasks.
//! - Protocols do not know one another; `ctl` knows the configuration, the HTTP API and the store's offline tools only,
//!   its load generator also the codec.
//! - Every file says at its top what it owns; long functions and files are listed here, so that growth is a decision.
//!
//! Tests (`#[cfg(test)]`) are exempt. The checker is text-deep on purpose: it understands comments, strings, `use` trees,
//! `super::` and braces, not macros.

use std::{collections::BTreeMap, fs, path::Path};

/// A line of modules; `pure` lines have no effects and see none.
struct Layer {
    pure: bool,
    modules: &'static [&'static str],
}

/// The layers in reading order. A module belongs to its longest entry: `queue::state` is not `queue`.
const LAYERS: &[Layer] = &[
    Layer { pure: false, modules: &["time", "histogram"] },
    Layer {
        pure: true,
        modules: &[
            "name",
            "arguments",
            "counts",
            "message",
            "dead_letter",
            "dedup",
            "delay",
            "definition",
            "durability",
        ],
    },
    Layer { pure: false, modules: &["config"] },
    Layer { pure: true, modules: &["store::ranges", "store::record", "store::index"] },
    Layer { pure: true, modules: &["exchange", "queue::state", "event", "broker::policy"] },
    Layer { pure: true, modules: &["auth::permissions", "auth::password"] },
    // All of amqp but the two files below: frame method properties handshake connection channel unacked confirms …
    Layer { pure: true, modules: &["amqp"] },
    Layer { pure: false, modules: &["store", "outbox", "auth", "telemetry"] },
    Layer { pure: false, modules: &["queue"] },
    Layer { pure: false, modules: &["broker"] },
    Layer { pure: false, modules: &["amqp::driver", "amqp::error", "management", "net"] },
    Layer { pure: false, modules: &["server"] },
    Layer { pure: false, modules: &["bin"] },
];

/// What clients speak to; each knows the broker, none another.
const PROTOCOLS: &[&str] = &["amqp", "management", "mqtt", "stomp", "stream_protocol", "amqp10"];

/// All of the library that the admin tool sees: it is a client.
const CTL: &str = "ctl";
/// The offline tools are the exception: where they work no broker runs that could be asked.
const CTL_SEES: &[&str] = &["config", CTL, "store::offline"];
/// The load generator speaks AMQP, upon the broker's codec.
const PERF: &str = "src/ctl/perf/";
const PERF_SEES: &[&str] = &["amqp::frame", "amqp::method", "message", "name", "time"];
/// The live view shows ages and asks again after a while.
const TOP: &str = "src/ctl/top/";
const TOP_SEES: &[&str] = &["time"];

/// Paths that pure code does not name, by their beginning.
const IMPURE_PATHS: &[&str] = &[
    "tokio",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::thread",
    "std::time::SystemTime",
    "crate::time::now",
    "crate::time::unix_ms",
    "time::now",
    "time::unix_ms",
    "Instant::now",
    "std::time::Instant::now",
    "SystemTime",
    "getrandom",
    "rand",
    "parking_lot",
    "dashmap",
];

/// Path segments that pure code does not name anywhere.
const IMPURE_NAMES: &[&str] = &["Mutex", "RwLock", "Condvar"];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 600;

/// Functions beyond [`FUNCTION_LINES_MAX`]: file, name, lines they may have.
const LONG_FUNCTIONS: &[(&str, &str, usize)] = &[];

/// Files beyond [`FILE_LINES_MAX`] without their tests: file, lines they may have.
const LONG_FILES: &[(&str, usize)] = &[];

#[test]
fn the_source_keeps_the_rules() {
    let mut files = Vec::new();
    read_sources(Path::new(env!("CARGO_MANIFEST_DIR")), Path::new("src"), &mut files);
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let found = check(&sources, LONG_FUNCTIONS, LONG_FILES);
    assert!(found.is_empty(), "{} violations:\n\n{}\n", found.len(), found.join("\n"));
}

fn read_sources(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(root.join(folder)).expect("the source folder can be listed");
    let mut entries: Vec<_> = entries.map(|entry| entry.expect("the entry can be read")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = folder.join(entry.file_name());
        if entry.path().is_dir() {
            read_sources(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).expect("a source file is UTF-8");
            files.push((path.display().to_string().replace('\\', "/"), text));
        }
    }
}

/// All violations, each with its place and the way out.
fn check(
    sources: &[Source],
    long_functions: &[(&str, &str, usize)],
    long_files: &[(&str, usize)],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut edges = BTreeMap::new();
    let modules: Vec<&[String]> = sources.iter().map(|source| &source.module[..]).collect();
    for source in sources {
        check_words(source, &mut found);
        if source.is_test(sources) {
            continue;
        }
        check_uses(source, &modules, &mut edges, &mut found);
        if layer_of(&source.module).is_some_and(|(_, line)| LAYERS[line].pure) {
            check_purity(source, &mut found);
        }
        check_sizes(source, long_functions, long_files, &mut found);
    }
    for ((user, used), place) in &edges {
        if user < used && edges.contains_key(&(*used, *user)) {
            found.push(format!(
                "{place}: `{user}` and `{used}` use each other. Move what both need into the line above."
            ));
        }
    }
    check_baselines(sources, long_functions, long_files, &mut found);
    found
}

fn check_words(source: &Source, found: &mut Vec<String>) {
    if !source.text.starts_with("//!") {
        found.push(format!(
            "{}:1: opens without `//!`. Say what the file owns and what it does not.",
            source.path
        ));
    }
    for (number, line) in source.text.lines().enumerate() {
        let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        if let Some(word) = words.find(|word| matches!(*word, "FIXME" | "XXX" | "TODO")) {
            let place = format!("{}:{}", source.path, number + 1);
            found.push(format!("{place}: {word} left over. Do it now or open an issue."));
        }
    }
}

/// The entry of [`LAYERS`] a path belongs to, and its line.
fn layer_of(path: &[String]) -> Option<(&'static str, usize)> {
    let entries =
        LAYERS.iter().enumerate().flat_map(|(line, layer)| layer.modules.iter().map(move |m| (*m, line)));
    let is_prefix = |entry: &str| {
        let mut path = path.iter();
        entry.split("::").all(|segment| path.next().is_some_and(|own| own == segment))
    };
    entries.filter(|(entry, _)| is_prefix(entry)).max_by_key(|(entry, _)| entry.len())
}

fn check_uses(
    source: &Source,
    modules: &[&[String]],
    edges: &mut BTreeMap<(&'static str, &'static str), String>,
    found: &mut Vec<String>,
) {
    let (Some(top), own) = (source.module.first(), layer_of(&source.module)) else { return };
    if own.is_none() && top != CTL {
        let module = source.module.join("::");
        found.push(format!("{}:1: module `{module}` has no layer. Give it a place in LAYERS.", source.path));
        return;
    }
    for (offset, path) in paths(&source.code) {
        let Some(used) = source.resolve(&path, modules) else { continue };
        let place = source.place(offset);
        let named = used.join("::");
        if top == CTL || source.path == "src/bin/warrenctl.rs" {
            let sees = |seen: &&str| named == **seen || named.starts_with(&format!("{seen}::"));
            let more = match source.path.as_str() {
                path if path.starts_with(PERF) => PERF_SEES,
                path if path.starts_with(TOP) => TOP_SEES,
                _ => &[],
            };
            if !CTL_SEES.iter().chain(more).any(sees) {
                found.push(format!(
                    "{place}: the admin tool uses `{named}`. It sees {CTL_SEES:?} and the HTTP API."
                ));
            }
            continue;
        }
        let Some((used_entry, used_line)) = layer_of(&used) else {
            let fix =
                if used[0] == CTL { "Only bin/warrenctl sees it." } else { "Name the module it lives in." };
            found.push(format!("{place}: uses `{named}`, which is in no layer. {fix}"));
            continue;
        };
        let Some((own_entry, own_line)) = own else { continue };
        if used_line > own_line {
            found.push(format!(
                "{place}: `{own_entry}` uses `{named}`, a line below its own. \
                 Pass what it needs as an argument, or move it up."
            ));
        } else if used_line == own_line && used_entry != own_entry {
            edges.entry((own_entry, used_entry)).or_insert(place.clone());
        }
        let is_protocol = |name: &str| PROTOCOLS.contains(&name);
        if is_protocol(top) && is_protocol(&used[0]) && *top != used[0] {
            found.push(format!(
                "{place}: protocol `{top}` uses `{named}`. What protocols share belongs into `broker`."
            ));
        }
    }
}

fn check_purity(source: &Source, found: &mut Vec<String>) {
    let mut report = |offset: usize, what: &str| {
        let place = source.place(offset);
        found.push(format!(
            "{place}: pure code names `{what}`. Take its outcome as an argument, or emit an effect."
        ));
    };
    for (offset, path) in paths(&source.code) {
        let named = path.join("::");
        let begins = |with: &&str| {
            named.strip_prefix(*with).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        if IMPURE_PATHS.iter().any(begins) || path.iter().any(|name| IMPURE_NAMES.contains(name)) {
            report(offset, &named);
        }
    }
    for word in ["async fn", "async move", "async {", ".await"] {
        for (offset, _) in source.code.match_indices(word) {
            report(offset, word);
        }
    }
}

fn check_sizes(
    source: &Source,
    long_functions: &[(&str, &str, usize)],
    long_files: &[(&str, usize)],
    found: &mut Vec<String>,
) {
    for (offset, name, lines) in functions(&source.code) {
        let listed =
            long_functions.iter().find(|(path, function, _)| *path == source.path && *function == name);
        if lines > listed.map_or(FUNCTION_LINES_MAX, |(_, _, allowed)| *allowed) {
            let (place, path) = (source.place(offset), &source.path);
            found.push(format!(
                "{place}: fn {name} has {lines} lines. Split it where it has two subjects; if one long table or match \
                 is its clearest form, put (\"{path}\", \"{name}\", {lines}) into LONG_FUNCTIONS and say why."
            ));
        }
    }
    let listed = long_files.iter().find(|(path, _)| *path == source.path);
    if source.lines > listed.map_or(FILE_LINES_MAX, |(_, allowed)| *allowed) {
        let (path, lines) = (&source.path, source.lines);
        found.push(format!(
            "{path}:1: {lines} lines without tests. Split it where it has two subjects; if it has one, put \
             (\"{path}\", {lines}) into LONG_FILES and say why."
        ));
    }
}

/// A baseline only shrinks by itself: what got short again leaves it.
fn check_baselines(
    sources: &[Source],
    long_functions: &[(&str, &str, usize)],
    long_files: &[(&str, usize)],
    found: &mut Vec<String>,
) {
    let source_of = |path: &str| sources.iter().find(|source| source.path == path);
    for (path, name, _) in long_functions {
        let is_long = |source: &Source| {
            functions(&source.code).iter().any(|(_, own, lines)| own == name && *lines > FUNCTION_LINES_MAX)
        };
        if !source_of(path).is_some_and(is_long) {
            found.push(format!("{path}: fn {name} is no longer long. Remove it from LONG_FUNCTIONS."));
        }
    }
    for (path, _) in long_files {
        if source_of(path).is_none_or(|source| source.lines <= FILE_LINES_MAX) {
            found.push(format!("{path}: is no longer long. Remove it from LONG_FILES."));
        }
    }
}

/// A file of the tree.
struct Source {
    path: String,
    text: String,
    /// The text with comments, the content of literals, and test items turned into spaces.
    code: String,
    /// Its module: `src/queue/state/mod.rs` → `queue`, `state`; empty for lib.rs.
    module: Vec<String>,
    /// Modules it declares for tests only.
    test_modules: Vec<String>,
    /// How many lines it has without test items.
    lines: usize,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let mut module: Vec<String> =
            path.trim_end_matches(".rs").split('/').skip(1).map(str::to_owned).collect();
        if module.last().is_some_and(|last| last == "mod" || last == "lib") {
            module.pop();
        }
        let mut code = without_comments_and_literals(text);
        let (test_modules, test_lines) = blank_test_items(&mut code);
        let lines = text.lines().count() - test_lines;
        Self { path: path.to_owned(), text: text.to_owned(), code, module, test_modules, lines }
    }

    /// Whether the file, or a folder it lies in, is a module declared for tests only.
    fn is_test(&self, sources: &[Source]) -> bool {
        (0..self.module.len()).any(|depth| {
            let (parent, child) = (&self.module[..depth], &self.module[depth]);
            sources.iter().any(|source| source.module == parent && source.test_modules.contains(child))
        })
    }

    fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.path, self.code[..offset].matches('\n').count() + 1)
    }

    /// The path within the library, if it leads there.
    fn resolve(&self, path: &[&str], modules: &[&[String]]) -> Option<Vec<String>> {
        let mut rest = path;
        let mut base: Vec<String> = self.module.clone();
        let library = if base.first().is_some_and(|top| top == "bin") { "warren" } else { "crate" };
        let is_child = |module: &&[String]| {
            module.split_last().is_some_and(|(last, parent)| parent == base && last == path[0])
        };
        if path[0] == library {
            (base, rest) = (Vec::new(), &path[1..]);
        } else if path[0] == "super" || path[0] == "self" {
            while let [first @ ("super" | "self"), behind @ ..] = rest {
                rest = behind;
                if *first == "super" {
                    base.pop();
                }
            }
        } else if !modules.iter().any(is_child) {
            return None;
        }
        base.extend(rest.iter().filter(|segment| **segment != "self").map(|segment| (*segment).to_owned()));
        if base.is_empty() { None } else { Some(base) }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// Turns `text[from..to]` into spaces, but for line ends.
fn blank(bytes: &mut [u8], from: usize, to: usize) {
    let to = to.min(bytes.len());
    bytes[from.min(to)..to].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

fn without_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment(text, at);
        if end > at {
            blank(&mut code, at, end);
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8(code).expect("whole characters are replaced")
}

/// The end of the comment or literal that starts at `at`, or `at`.
fn literal_or_comment(text: &str, at: usize) -> usize {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    let until =
        |needle: &str, from: usize| text[from..].find(needle).map_or(text.len(), |n| from + n + needle.len());
    if rest.starts_with(b"//") {
        return text[at..].find('\n').map_or(text.len(), |n| at + n);
    }
    if rest.starts_with(b"/*") {
        let (mut depth, mut end) = (1, at + 2);
        while depth > 0 && end < bytes.len() {
            match bytes.get(end..end + 2) {
                Some(b"/*") => (depth, end) = (depth + 1, end + 2),
                Some(b"*/") => (depth, end) = (depth - 1, end + 2),
                _ => end += 1,
            }
        }
        return end;
    }
    let begins_word =
        at == 0 || !is_word(bytes[at - 1]) || (bytes[at - 1] == b'b' && (at < 2 || !is_word(bytes[at - 2])));
    if begins_word && (rest.starts_with(b"r\"") || rest.starts_with(b"r#")) {
        let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
        if rest.get(1 + hashes) == Some(&b'"') {
            return until(&format!("\"{}", "#".repeat(hashes)), at + 2 + hashes);
        }
    }
    match rest {
        [b'"', ..] => {
            let mut end = at + 1;
            while end < bytes.len() && bytes[end] != b'"' {
                end += if bytes[end] == b'\\' { 2 } else { 1 };
            }
            end + 1
        }
        [b'\'', b'\\', ..] => until("'", at + 3),
        // A character, not a lifetime: its second quote stands right behind.
        [b'\'', ..] => {
            let character = text[at + 1..].chars().next().map_or(0, char::len_utf8);
            if bytes.get(at + 1 + character) == Some(&b'\'') { at + 2 + character } else { at }
        }
        _ => at,
    }
}

/// Turns items under `#[cfg(test)]` into spaces; returns the modules declared so and how many lines the items had.
fn blank_test_items(code: &mut String) -> (Vec<String>, usize) {
    let (mut modules, mut lines) = (Vec::new(), 0);
    let mut bytes = code.clone().into_bytes();
    for (start, _) in code.match_indices("#[cfg(test)]") {
        let end = item_end(code, start + 1);
        let item = &code[start..end];
        if let Some(name) = item.strip_suffix(';').and_then(|item| item.rsplit_once("mod ")) {
            modules.push(name.1.trim().to_owned());
        }
        lines += item.lines().count();
        blank(&mut bytes, start, end);
    }
    *code = String::from_utf8(bytes).expect("whole characters are replaced");
    (modules, lines)
}

/// The end of the item at `from`: behind its `;`, or behind the brace that closes its body.
fn item_end(code: &str, from: usize) -> usize {
    let (mut braces, mut others) = (0, 0);
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others -= 1,
            b'{' => braces += 1,
            b'}' => {
                braces -= 1;
                if braces <= 0 {
                    return offset + 1;
                }
            }
            b';' if braces == 0 && others <= 0 => return offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Every function with a body: where it starts, its name, its lines.
fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for (start, _) in code.match_indices("fn ") {
        let name: String =
            code[start + 3..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() || (start > 0 && is_word(bytes[start - 1])) {
            continue;
        }
        found.push((start, name, code[start..item_end(code, start)].lines().count()));
    }
    found
}

/// Every path of two segments or more, `use` trees written out, and where it stands.
fn paths(code: &str) -> Vec<(usize, Vec<&str>)> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let before = code[..at].trim_end();
        let continues = before.ends_with("::")
            && before[..before.len() - 2].ends_with(|c: char| is_word(c as u8) || c == '>');
        let known = found.len();
        let end = path_tree(code, at, &[], &mut found);
        if continues || before.ends_with('.') {
            found.truncate(known);
        }
        at = end;
    }
    found.retain(|(_, path)| path.len() > 1);
    found
}

/// Reads one path or `use` tree at `at` into `found`; returns where it ends.
fn path_tree<'c>(
    code: &'c str,
    at: usize,
    prefix: &[&'c str],
    found: &mut Vec<(usize, Vec<&'c str>)>,
) -> usize {
    let bytes = code.as_bytes();
    let skip_space = |mut at: usize| {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        at
    };
    let mut path = prefix.to_vec();
    let start = at;
    let mut at = at;
    loop {
        let end = at + bytes[at..].iter().take_while(|byte| is_word(**byte)).count();
        if end == at {
            break;
        }
        path.push(&code[at..end]);
        at = end;
        let behind = skip_space(end);
        if !code[behind..].starts_with("::") {
            break;
        }
        let next = skip_space(behind + 2);
        match bytes.get(next) {
            Some(b'{') => return path_group(code, next + 1, &path, found),
            Some(byte) if is_word(*byte) => at = next,
            _ => break,
        }
    }
    found.push((start, path));
    at
}

fn path_group<'c>(
    code: &'c str,
    from: usize,
    prefix: &[&'c str],
    found: &mut Vec<(usize, Vec<&'c str>)>,
) -> usize {
    let bytes = code.as_bytes();
    let mut at = from;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'}' => return at + 1,
            byte if is_word(*byte) => {
                at = path_tree(code, at, prefix, found);
                // What follows up to the comma is an alias.
                at += bytes[at..].iter().take_while(|byte| !matches!(byte, b',' | b'}')).count();
            }
            _ => at += 1,
        }
    }
    at
}

mod checker {
    use super::*;

    /// The violations in a small tree, each without what comes behind its first sentence.
    fn violations(files: &[(&str, &str)]) -> Vec<String> {
        violations_beyond(files, &[], &[])
    }

    fn violations_beyond(
        files: &[(&str, &str)],
        functions: &[(&str, &str, usize)],
        long_files: &[(&str, usize)],
    ) -> Vec<String> {
        let sources: Vec<Source> =
            files.iter().map(|(path, text)| Source::new(path, &format!("//! x\n{text}"))).collect();
        let found = check(&sources, functions, long_files);
        found
            .iter()
            .map(|text| text.split_once(". ").map_or(&text[..], |(first, _)| first).to_owned())
            .collect()
    }

    #[test]
    fn uses_of_lines_above_and_of_the_own_line_are_fine() {
        let files = [
            ("src/lib.rs", "pub mod name;"),
            (
                "src/exchange/mod.rs",
                "mod topic; use crate::{name::{self, A}, arguments::B}; fn f() { topic::g() }",
            ),
            ("src/exchange/topic.rs", "use super::Router; use std::collections::BTreeMap;"),
            ("src/queue/classic.rs", "use super::state::State; use parking_lot::Mutex; use crate::store;"),
            ("src/amqp/driver.rs", "async fn run() { tokio::spawn(crate::broker::publish()).await }"),
            ("src/bin/warren.rs", "fn main() { warren::server::run(warren::config::read()) }"),
            ("src/bin/warrenctl.rs", "fn main() { warren::ctl::run() }"),
            ("src/ctl/mod.rs", "use crate::config::Config; mod client; use client::Client;"),
            ("src/ctl/store.rs", "use crate::store::offline::{self, Place};"),
        ];
        assert_eq!(violations(&files), [""; 0]);
    }

    #[test]
    fn a_use_of_a_line_below_is_found_however_it_is_written() {
        for text in [
            "use crate::broker::Broker;",
            "use crate::{name::A, broker::{self, B}};",
            "fn f(broker: &crate::broker::B) {}",
            "use super::broker::B as C;",
            "fn f() { let x = super :: broker\n::f(); }",
        ] {
            let found = violations(&[("src/event.rs", text)]);
            let expected = "`event` uses `broker";
            assert!(found.len() == text.matches("broker::{self").count() + 1, "{text}: {found:?}");
            assert!(found.iter().all(|found| found.contains(expected)), "{text}: {found:?}");
        }
        let files =
            [("src/amqp/mod.rs", "pub mod driver;\npub use driver::run;"), ("src/amqp/driver.rs", "")];
        assert_eq!(
            violations(&files),
            ["src/amqp/mod.rs:3: `amqp` uses `amqp::driver::run`, a line below its own"]
        );
        assert_eq!(violations(&[("src/auth/permissions.rs", "use super::users::Users;")]).len(), 1);
        assert_eq!(violations(&[("src/auth/users.rs", "use super::permissions::Access;")]), [""; 0]);
    }

    #[test]
    fn modules_of_one_line_do_not_use_each_other() {
        let files =
            [("src/store/mod.rs", "use crate::outbox::A;"), ("src/outbox.rs", "use crate::store::B;")];
        assert_eq!(violations(&files), ["src/outbox.rs:2: `outbox` and `store` use each other"]);
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let text = r####"
            // use crate::broker::B;
            /* crate::broker /* tokio::spawn */ tokio::x */
            const A: &str = "tokio::spawn \" crate::broker::B";
            const B: &[u8] = br#"tokio::spawn " crate::broker"#;
            const C: [char; 3] = ['"', '\'', '\u{1}'];
            fn f<'a>(x: &'a str) -> &'a str { x }
            #[cfg(test)]
            mod more;
            #[cfg(test)]
            mod tests { use crate::broker::B; fn f() { tokio::spawn() } }
        "####;
        let files = [("src/exchange/mod.rs", text), ("src/exchange/more.rs", "use crate::broker::B;")];
        assert_eq!(violations(&files), [""; 0]);
    }

    #[test]
    fn pure_code_names_nothing_of_the_world() {
        for text in [
            "use tokio::sync::mpsc;",
            "use std::{collections::BTreeMap, fs};",
            "use std::sync::{Arc, Mutex};",
            "fn f() { let x = std::net::lookup(); }",
            "fn f() { crate::time::now(); }",
            "use crate::time; fn f() { time::unix_ms(); }",
            "use std::time::Instant; fn f() { Instant::now(); }",
            "fn f() { ::getrandom::fill(); }",
            "async fn f() {}",
            "fn f() { x.await }",
        ] {
            let found = violations(&[("src/queue/state/mod.rs", text)]);
            assert!(found.len() == 1 && found[0].contains(":2: pure code names `"), "{text}: {found:?}");
            assert_eq!(violations(&[("src/broker/mod.rs", text)]), [""; 0]);
        }
        let atomics = "use std::sync::{Arc, atomic::AtomicU64}; use crate::time::{Duration, Instant};";
        assert_eq!(violations(&[("src/exchange/mod.rs", atomics)]), [""; 0]);
    }

    #[test]
    fn protocols_and_the_admin_tool_keep_to_themselves() {
        let found = violations(&[
            ("src/management/mod.rs", "use crate::amqp::frame::Frame;"),
            ("src/ctl/mod.rs", "use crate::name::QueueName;"),
            ("src/ctl/store.rs", "use crate::store::Error;"),
            ("src/ctl/perf/mod.rs", "use crate::{amqp::frame::Frame, amqp::driver, time};"),
            ("src/bin/warrenctl.rs", "use warren::broker::Broker;"),
            ("src/server.rs", "use crate::ctl;"),
        ]);
        assert_eq!(
            found,
            [
                "src/management/mod.rs:2: protocol `management` uses `amqp::frame::Frame`",
                "src/ctl/mod.rs:2: the admin tool uses `name::QueueName`",
                "src/ctl/store.rs:2: the admin tool uses `store::Error`",
                "src/ctl/perf/mod.rs:2: the admin tool uses `amqp::driver`",
                "src/bin/warrenctl.rs:2: the admin tool uses `broker::Broker`",
                "src/server.rs:2: uses `ctl`, which is in no layer",
            ]
        );
    }

    #[test]
    fn files_without_a_layer_a_header_or_an_end_to_their_work_are_found() {
        let bare = Source::new("src/name.rs", "use std::fmt;");
        assert!(check(&[bare], &[], &[])[0].starts_with("src/name.rs:1: opens without `//!`"));
        assert_eq!(violations(&[("src/misc.rs", "")]), ["src/misc.rs:1: module `misc` has no layer"]);
        let words = format!("// {}: later\nconst XXXL: u8 = 1;", "FIXME");
        assert_eq!(violations(&[("src/name.rs", &words)]), ["src/name.rs:2: FIXME left over"]);
    }

    #[test]
    fn growth_beyond_the_limits_and_leftovers_in_the_baseline_are_found() {
        let function = format!("fn long() {{\n{}}}\nfn short() {{}}\n", "    step();\n".repeat(80));
        let files = [("src/server.rs", &function[..])];
        assert_eq!(violations(&files), ["src/server.rs:2: fn long has 82 lines"]);
        assert_eq!(violations_beyond(&files, &[("src/server.rs", "long", 82)], &[]), [""; 0]);
        assert_eq!(violations_beyond(&files, &[("src/server.rs", "long", 81)], &[]).len(), 1);
        let leftover = [("src/server.rs", "long", 82), ("src/server.rs", "short", 90)];
        assert_eq!(violations_beyond(&files, &leftover, &[]), ["src/server.rs: fn short is no longer long"]);
        let lines = "const A: u8 = 1;\n".repeat(600);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{lines}}}\n");
        assert_eq!(violations(&[("src/server.rs", &lines)]), ["src/server.rs:1: 601 lines without tests"]);
        assert_eq!(violations_beyond(&[("src/server.rs", &lines)], &[], &[("src/server.rs", 601)]), [""; 0]);
        assert_eq!(violations(&[("src/server.rs", &tests)]), [""; 0]);
        assert_eq!(
            violations_beyond(&[("src/server.rs", "")], &[], &[("src/server.rs", 601)]),
            ["src/server.rs: is no longer long"]
        );
    }
}
