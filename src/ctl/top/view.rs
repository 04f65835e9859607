//! The live view as a frame of text. PURE: the state in, cells out.

use super::state::{Queue, Sort, State};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Row, Table};

/// The columns: title, what sorts by it, width.
const COLUMNS: [(&str, Option<Sort>, Constraint); 9] = [
    ("VHOST", None, Constraint::Length(10)),
    ("QUEUE", Some(Sort::Name), Constraint::Min(16)),
    ("READY", Some(Sort::Depth), Constraint::Length(10)),
    ("UNACKED", None, Constraint::Length(8)),
    ("IN/s", Some(Sort::In), Constraint::Length(9)),
    ("OUT/s", Some(Sort::Out), Constraint::Length(9)),
    ("AGE", Some(Sort::Age), Constraint::Length(8)),
    ("CONSUMERS", Some(Sort::Consumers), Constraint::Length(10)),
    ("STATE", None, Constraint::Length(8)),
];

/// Draws the state.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let areas = Layout::vertical([Constraint::Length(3), Constraint::Min(1), Constraint::Length(1)]);
    let [head, body, foot] = areas.areas(frame.area());
    frame.render_widget(Paragraph::new(head_lines(state)), head);
    draw_queues(frame, state, body);
    frame.render_widget(Paragraph::new(foot_line(state)), foot);
}

/// The totals of the node, in lines.
pub(super) fn head_lines(state: &State) -> Vec<Line<'static>> {
    let overview = &state.snapshot.overview;
    let alarms = match overview.alarms.as_deref() {
        None => Span::raw("alarms unknown"),
        Some([]) => Span::raw("no alarms"),
        Some(alarms) => Span::styled(
            format!("ALARM: {} — publishers are blocked", alarms.join(", ")),
            Style::new().fg(Color::Red).bold(),
        ),
    };
    vec![
        Line::from(vec![
            Span::raw(format!("{} {}  ", overview.node, overview.version)).bold(),
            alarms,
            Span::raw(if state.is_paused { "  PAUSED" } else { "" }),
        ]),
        Line::from(format!(
            "{} connections  {} channels  {} consumers  {} queues",
            overview.connections, overview.channels, overview.consumers, overview.queues
        )),
        Line::from(format!(
            "{} ready  {} unacked  in {}/s  out {}/s  acked {}/s",
            overview.ready,
            overview.unacknowledged,
            rate(overview.rate_in),
            rate(overview.rate_out),
            rate(overview.rate_acked)
        )),
    ]
}

fn draw_queues(frame: &mut Frame<'_>, state: &State, area: Rect) {
    let title = |(title, sort, _): (&'static str, Option<Sort>, Constraint)| match sort {
        Some(sort) if sort == state.sort => {
            format!("{title}{}", if state.is_descending() { "▼" } else { "▲" })
        }
        _ => title.to_owned(),
    };
    let header = Row::new(COLUMNS.map(title)).style(Style::new().reversed());
    let shown = state.snapshot.queues.iter().skip(state.offset).take(usize::from(area.height));
    let rows = shown.map(|queue| {
        let row = Row::new(cells(queue, state.snapshot.now_s));
        // Nobody takes what lies there.
        if queue.consumers == 0 && queue.ready > 0 { row.fg(Color::Yellow) } else { row }
    });
    let widths = COLUMNS.map(|(_, _, width)| width);
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(1), area);
}

/// The cells of a queue, in the order of the columns.
pub(super) fn cells(queue: &Queue, now_s: u64) -> [String; 9] {
    [
        harmless(&queue.vhost),
        harmless(&queue.name),
        queue.ready.to_string(),
        queue.unacknowledged.to_string(),
        rate(queue.rate_in),
        rate(queue.rate_out),
        queue.age_s(now_s).map_or_else(|| "-".to_owned(), age),
        queue.consumers.to_string(),
        queue.state.clone(),
    ]
}

/// The titles of the columns, as `--once` has them.
pub(super) const FIELDS: [&str; 9] =
    ["vhost", "queue", "ready", "unacked", "in_rate", "out_rate", "age", "consumers", "state"];

fn foot_line(state: &State) -> Line<'static> {
    if let Some(failure) = &state.failure {
        return Line::from(failure.clone()).fg(Color::Red);
    }
    if state.is_typing {
        return Line::from(format!("filter: {}_  (Enter keeps it, Esc clears it)", harmless(&state.filter)));
    }
    let (shown, matching) = (state.snapshot.queues.len() as u64, state.snapshot.matching);
    let count = match shown < matching {
        true => format!("first {shown} of {matching} queues"),
        false => format!("{matching} queues"),
    };
    let filter = match state.filter.as_str() {
        "" => String::new(),
        filter => format!(" with '{}'", harmless(filter)),
    };
    Line::from(format!(
        "{count}{filter}  sort: d·epth i·n o·ut a·ge c·onsumers n·ame  / filter  space pause  q quit"
    ))
}

/// A rate in few characters.
fn rate(rate: f64) -> String {
    match rate {
        rate if rate >= 1e6 => format!("{:.1}M", rate / 1e6),
        rate if rate >= 1e4 => format!("{:.1}k", rate / 1e3),
        rate if rate >= 100.0 || rate == 0.0 => format!("{rate:.0}"),
        rate => format!("{rate:.1}"),
    }
}

/// A time in few characters.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// Names may contain control characters, terminals obey them.
fn harmless(text: &str) -> String {
    if text.contains(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}
