//! Output: tables for people; JSON, CSV and lines with tabs for scripts; all written page by page.

use super::{Context, client, failure::Failure};
use comfy_table::{ColumnConstraint, Table, Width, presets};
use serde_json::{Map, Value};
use std::io::{self, Write};

/// How data is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    // A table, for people. No doc comments: they would make the help of every command long.
    #[value(alias = "pretty_table")]
    Table,
    // One array of objects.
    #[value(alias = "pretty_json", alias = "raw_json")]
    Json,
    // An object a line.
    #[value(name = "json-lines", alias = "json_lines", alias = "json_stream", alias = "jsonl")]
    JsonLines,
    // As RFC 4180 has it.
    Csv,
    // Separated by tabs, as rabbitmqctl's tables are.
    #[value(alias = "string", alias = "string_per_line")]
    Tsv,
}

impl Format {
    /// Whether what is no list is to be an object, too.
    pub(super) fn is_json(self) -> bool {
        matches!(self, Format::Json | Format::JsonLines)
    }
}

/// Where and how a command writes.
pub(super) struct Output<'a> {
    pub(super) format: Format,
    pub(super) has_notes: bool,
    pub(super) has_headers: bool,
    pub(super) out: &'a mut dyn Write,
}

/// A column of a listing: its name is rabbitmqctl's, its source the HTTP API's.
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) source: Source,
}

/// Where a column's value comes from.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// A dotted path in the object.
    Path(&'static str),
    /// Always the same.
    Constant(&'static str),
}

/// A column that the HTTP API calls the same.
pub(super) const fn column(name: &'static str) -> Column {
    Column { name, source: Source::Path(name) }
}

/// A column that the HTTP API calls something else.
pub(super) const fn column_from(name: &'static str, path: &'static str) -> Column {
    Column { name, source: Source::Path(path) }
}

impl Column {
    fn value(&self, object: &Value) -> Value {
        match self.source {
            Source::Path(path) => client::at(object, path).clone(),
            Source::Constant(text) => Value::from(text),
        }
    }
}

/// A list of the HTTP API: where it is, which columns there are, and which of them are shown if none is asked for.
#[derive(Clone, Copy)]
pub(super) struct Listing<'l> {
    pub(super) path: &'l [&'l str],
    pub(super) columns: &'l [Column],
    pub(super) default: &'l [&'l str],
}

/// Which objects of a list are wanted: by a field, and what that says.
#[derive(Clone, Copy)]
pub(super) struct Filter {
    pub(super) field: &'static str,
    pub(super) is_wanted: fn(&Value) -> bool,
}

/// Lists the objects at `path`: the `wanted` columns of those there are, or the `default` ones.
pub(super) fn list(
    context: &mut Context<'_>,
    path: &[&str],
    columns: &[Column],
    default: &[&str],
    wanted: &[String],
) -> Result<(), Failure> {
    list_some(context, Listing { path, columns, default }, wanted, None)
}

/// Lists those objects that the filter wants.
pub(super) fn list_some(
    context: &mut Context<'_>,
    listing: Listing<'_>,
    wanted: &[String],
    filter: Option<Filter>,
) -> Result<(), Failure> {
    let Listing { path, columns, default } = listing;
    let wanted: Vec<&str> =
        if wanted.is_empty() { default.to_vec() } else { wanted.iter().map(String::as_str).collect() };
    let chosen = wanted.iter().map(|name| columns.iter().find(|column| column.name == *name).ok_or(*name));
    let chosen: Vec<&Column> =
        chosen.collect::<Result<_, _>>().map_err(|name| unknown_column(name, columns))?;
    let fields = chosen.iter().filter_map(|column| match column.source {
        Source::Path(path) => Some(path),
        Source::Constant(_) => None,
    });
    let fields = fields.chain(filter.map(|filter| filter.field)).collect::<Vec<_>>().join(",");
    let mut rows = Rows::new(&mut context.output, &wanted);
    for page in context.client.pages(path, &fields) {
        let mut objects = page?;
        if let Some(Filter { field, is_wanted }) = filter {
            objects.retain(|object| is_wanted(client::at(object, field)));
        }
        let values = objects.iter().map(|object| chosen.iter().map(|column| column.value(object)).collect());
        rows.write(values.collect())?;
    }
    Ok(rows.finish()?)
}

fn unknown_column(name: &str, columns: &[Column]) -> Failure {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    Failure::Usage(format!("unknown column '{name}'; there are: {}", names.join(" ")))
}

/// A table that is written piece by piece.
pub(super) struct Rows<'o, 'a> {
    output: &'o mut Output<'a>,
    names: Vec<String>,
    /// Of every column, the widest cell so far, so that later pages stand below the first.
    widths: Vec<u16>,
    written: usize,
}

impl<'o, 'a> Rows<'o, 'a> {
    pub(super) fn new(output: &'o mut Output<'a>, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Rows { widths: vec![0; names.len()], output, names, written: 0 }
    }

    /// Writes some rows.
    pub(super) fn write(&mut self, rows: Vec<Vec<Value>>) -> io::Result<()> {
        match self.output.format {
            Format::Json | Format::JsonLines => self.write_json(rows),
            Format::Table => self.write_table(rows),
            Format::Csv => self.write_separated(rows, ",", csv_cell),
            Format::Tsv => self.write_separated(rows, "\t", cell),
        }
    }

    /// Writes what belongs behind the last row.
    pub(super) fn finish(mut self) -> io::Result<()> {
        match (self.output.format, self.written) {
            (Format::Json, 0) => writeln!(self.output.out, "[]"),
            (Format::Json, _) => writeln!(self.output.out, "\n]"),
            // A header is there even if nothing is below it.
            (_, 0) => self.write_head(),
            _ => Ok(()),
        }
    }

    fn write_json(&mut self, rows: Vec<Vec<Value>>) -> io::Result<()> {
        for row in rows {
            let object: Map<String, Value> = self.names.iter().cloned().zip(row).collect();
            let (start, end) = match (self.output.format, self.written) {
                (Format::JsonLines, _) => ("", "\n"),
                (_, 0) => ("[\n", ""),
                _ => (",\n", ""),
            };
            write!(self.output.out, "{start}{}{end}", Value::Object(object))?;
            self.written += 1;
        }
        Ok(())
    }

    /// Writes the header of a list without rows.
    fn write_head(&mut self) -> io::Result<()> {
        match self.output.format {
            _ if !self.output.has_headers => Ok(()),
            Format::Json | Format::JsonLines => Ok(()),
            Format::Table => self.write_lines(vec![self.names.clone()]),
            Format::Csv => writeln!(self.output.out, "{}", self.names.join(",")),
            Format::Tsv => writeln!(self.output.out, "{}", self.names.join("\t")),
        }
    }

    fn write_separated(
        &mut self,
        rows: Vec<Vec<Value>>,
        separator: &str,
        cell: fn(&Value) -> String,
    ) -> io::Result<()> {
        if self.written == 0 && !rows.is_empty() {
            self.write_head()?;
        }
        self.written += rows.len();
        for row in rows {
            let cells: Vec<String> = row.iter().map(cell).collect();
            writeln!(self.output.out, "{}", cells.join(separator))?;
        }
        Ok(())
    }

    fn write_table(&mut self, rows: Vec<Vec<Value>>) -> io::Result<()> {
        let is_headed = self.written == 0 && self.output.has_headers && !rows.is_empty();
        self.written += rows.len();
        let head = is_headed.then(|| self.names.clone());
        let cells = rows.iter().map(|row| row.iter().map(cell).collect());
        self.write_lines(head.into_iter().chain(cells).collect())
    }

    fn write_lines(&mut self, lines: Vec<Vec<String>>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.add_rows(lines);
        if table.is_empty() {
            return Ok(());
        }
        for (column, width) in self.widths.iter_mut().enumerate() {
            *width = table.column_max_content_widths().get(column).copied().unwrap_or(0).max(*width);
            if let Some(column) = table.column_mut(column) {
                column.set_padding((0, 2));
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width + 2)));
            }
        }
        table.lines().try_for_each(|line| writeln!(self.output.out, "{}", line.trim_end()))
    }
}

/// A value as a table shows it. Control characters are escaped: names may contain them, terminals obey them.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.contains(char::is_control) => text.escape_debug().to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(cell).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// A value as a field of a CSV file, in quotes where it has to be.
fn csv_cell(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| cell(value), str::to_owned);
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

impl Output<'_> {
    /// Shows one object: its fields below each other for people, as it is for scripts.
    pub(super) fn object(&mut self, object: Map<String, Value>) -> Result<(), Failure> {
        match self.format {
            Format::Json => writeln!(self.out, "{:#}", Value::Object(object))?,
            Format::JsonLines => writeln!(self.out, "{}", Value::Object(object))?,
            _ => {
                let mut rows = Rows::new(self, &["field", "value"]);
                rows.write(object.into_iter().map(|(name, value)| vec![name.into(), value]).collect())?;
                rows.finish()?;
            }
        }
        Ok(())
    }

    /// Says what was done, unless notes are unwanted; scripts that read JSON want none either.
    pub(super) fn note(&mut self, text: &str) -> Result<(), Failure> {
        if self.has_notes && self.format == Format::Table {
            writeln!(self.out, "{text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(format: Format, has_headers: bool, pages: Vec<Vec<Vec<Value>>>) -> String {
        let mut out = Vec::new();
        let mut output = Output { format, has_notes: true, has_headers, out: &mut out };
        let mut rows = Rows::new(&mut output, &["name", "messages"]);
        pages.into_iter().for_each(|page| rows.write(page).unwrap());
        rows.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_table_has_its_columns_below_each_other_on_every_page() {
        let pages = vec![
            vec![vec![json!("orders"), json!(12)], vec![json!("a"), json!(0)]],
            vec![vec![json!("x"), json!(7)]],
        ];
        assert_eq!(
            written(Format::Table, true, pages.clone()),
            "name    messages\norders  12\na       0\nx       7\n"
        );
        assert_eq!(written(Format::Table, false, pages), "orders  12\na       0\nx       7\n");
    }

    #[test]
    fn json_is_one_array_over_all_pages() {
        let pages = vec![vec![vec![json!("a"), json!(1)]], vec![vec![json!("b"), json!(null)]]];
        let text = written(Format::Json, true, pages);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value, json!([{"name": "a", "messages": 1}, {"name": "b", "messages": null}]));
        assert_eq!(text.lines().count(), 4, "an object a line");
    }

    #[test]
    fn scripts_read_a_line_a_row() {
        let pages = vec![vec![vec![json!("a,\"b\"\n"), json!(1)]], vec![vec![json!("c\t"), json!("d,e")]]];
        let lines = written(Format::JsonLines, true, pages.clone());
        let objects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects[0], json!({"name": "a,\"b\"\n", "messages": 1}));
        assert_eq!(objects.len(), 2);
        let csv = written(Format::Csv, true, pages.clone());
        assert_eq!(csv, "name,messages\n\"a,\"\"b\"\"\n\",1\nc\t,\"d,e\"\n");
        let tsv = written(Format::Tsv, false, pages);
        assert_eq!(tsv, "a,\\\"b\\\"\\n\t1\nc\\t\td,e\n", "no cell has a tab or ends a line");
    }

    #[test]
    fn an_empty_list_is_a_header_or_an_empty_array() {
        assert_eq!(written(Format::Table, true, vec![vec![]]), "name  messages\n");
        assert_eq!(written(Format::Table, false, vec![vec![]]), "");
        assert_eq!(written(Format::Json, true, vec![vec![]]), "[]\n");
        assert_eq!(written(Format::JsonLines, true, vec![vec![]]), "");
        assert_eq!(written(Format::Csv, true, vec![vec![]]), "name,messages\n");
    }

    #[test]
    fn cells_are_plain_and_harmless() {
        for (value, expected) in [
            (json!(null), ""),
            (json!("a b"), "a b"),
            (json!("a\u{1b}[2Jb\n"), "a\\u{1b}[2Jb\\n"),
            (json!(true), "true"),
            (json!(0.5), "0.5"),
            (json!(["administrator", "x"]), "[administrator, x]"),
            (json!({"x-expires": 5}), "{\"x-expires\":5}"),
        ] {
            assert_eq!(cell(&value), expected);
        }
    }
}
