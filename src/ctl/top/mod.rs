//! `warrenctl top`: a live view of the queues. The state and the drawing are pure; here are the terminal, the keys and
//! the questions to the broker.

mod state;
mod view;

#[cfg(test)]
mod tests;

use super::{Command, Context, Failure, output::Rows};
use crate::time::{self, Duration};
use clap::{Arg, ArgAction, ArgMatches, value_parser};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;
use state::{Key, Overview, Queue, Snapshot, Sort, State};
use std::io::{self, IsTerminal};

pub(super) const TOP: Command = Command {
    name: "top",
    about: "Watch the queues: depth, rates, age, consumers",
    arguments: |command| {
        let sorts = Sort::ALL.map(Sort::name);
        let interval = Arg::new("interval").long("interval").value_name("SECONDS").default_value("2");
        let rows = Arg::new("rows").long("rows").value_name("COUNT").default_value("500");
        command
            .arg(Arg::new("sort").long("sort").value_parser(sorts).default_value("depth"))
            .arg(Arg::new("filter").long("filter").value_name("TEXT").default_value("").hide_default_value(true))
            .arg(interval.value_parser(value_parser!(u64).range(1..)).help("How often the broker is asked"))
            .arg(rows.value_parser(value_parser!(u64).range(1..=500)).help("How many queues at most"))
            .arg(
                Arg::new("once")
                    .long("once")
                    .action(ArgAction::SetTrue)
                    .help("Print what there is now as a list, and end"),
            )
            .after_help("Of all vhosts, or of that of -p. Keys: d i o a c n sort (again: the other way round), / filters, space pauses, q quits.")
    },
    run: |context, arguments| {
        let text = |name: &str| super::text(arguments, name);
        let sort = Sort::of_name(text("sort")).unwrap_or(Sort::Depth);
        let mut state = State::new(sort, text("filter").to_owned());
        let rows = arguments.get_one::<u64>("rows").copied().unwrap_or_default();
        // A broker that is not there is told before the terminal becomes a view.
        state.take(Ok(ask(context, &state, rows)?));
        if arguments.get_flag("once") {
            return print(context, &state);
        }
        if !io::stdout().is_terminal() {
            return Err(Failure::Usage("top needs a terminal; `warrenctl top --once` prints a list".into()));
        }
        watch(context, state, rows, arguments)
    },
};

/// Asks the broker for what the state shows.
fn ask(context: &Context<'_>, state: &State, rows: u64) -> Result<Snapshot, Failure> {
    let overview = context.client.get(&["overview"])?;
    let nodes = match context.client.get(&["nodes"]) {
        // For users with the tag monitoring.
        Err(Failure::AccessRefused { .. }) => None,
        nodes => Some(nodes?),
    };
    let rows = rows.to_string();
    let query = [
        ("page", "1"),
        ("page_size", &rows),
        ("columns", state::FIELDS),
        ("sort", state.sort.field()),
        ("sort_reverse", if state.is_descending() { "true" } else { "false" }),
        ("name", &state.filter),
    ];
    let path = ["queues", &context.vhost];
    let path = if context.is_vhost_given { &path[..] } else { &path[..1] };
    let page = context.client.get_query(path, &query);
    let page = page.map_err(|failure| failure.or_missing(|| super::failure::no_vhost(&context.vhost)))?;
    let queues: Vec<Queue> = page["items"].as_array().into_iter().flatten().map(Queue::read).collect();
    Ok(Snapshot {
        overview: Overview::read(&overview, nodes.as_ref()),
        matching: page["filtered_count"].as_u64().unwrap_or(queues.len() as u64),
        queues,
        now_s: time::unix_ms().0 / 1000,
    })
}

/// One frame as a list.
fn print(context: &mut Context<'_>, state: &State) -> Result<(), Failure> {
    for line in view::head_lines(state) {
        context.output.note(&line.to_string())?;
    }
    let now_s = state.snapshot.now_s;
    let is_json = context.output.format.is_json();
    let mut rows = Rows::new(&mut context.output, &view::FIELDS);
    let row = |queue: &Queue| -> Vec<Value> {
        if !is_json {
            return view::cells(queue, now_s).map(Value::from).to_vec();
        }
        let (vhost, name, state) = (queue.vhost.as_str(), queue.name.as_str(), queue.state.as_str());
        vec![
            vhost.into(),
            name.into(),
            queue.ready.into(),
            queue.unacknowledged.into(),
            queue.rate_in.into(),
            queue.rate_out.into(),
            queue.age_s(now_s).into(),
            queue.consumers.into(),
            state.into(),
        ]
    };
    rows.write(state.snapshot.queues.iter().map(row).collect())?;
    Ok(rows.finish()?)
}

/// Shows the state until it is over, asks again at every interval and when a key wants it.
fn watch(context: &Context<'_>, mut state: State, rows: u64, arguments: &ArgMatches) -> Result<(), Failure> {
    let interval = Duration::from_secs(arguments.get_one::<u64>("interval").copied().unwrap_or(1));
    let mut terminal = ratatui::try_init()?;
    let mut outcome = Ok(());
    let mut due = time::now() + interval;
    while !state.is_over && outcome.is_ok() {
        outcome = terminal.draw(|frame| view::draw(frame, &state)).map(drop);
        let left = due.saturating_duration_since(time::now());
        let is_wanted = match next_key(left) {
            Ok(Some(key)) => state.press(key),
            Ok(None) => false,
            Err(error) => {
                outcome = Err(error);
                false
            }
        };
        let is_due = time::now() >= due;
        if is_wanted || (is_due && !state.is_paused) {
            let answer = ask(context, &state, rows).map_err(|failure| failure.to_string());
            state.take(answer);
        }
        if is_wanted || is_due {
            due = time::now() + interval;
        }
    }
    ratatui::try_restore()?;
    Ok(outcome?)
}

/// The next key that means something, if one comes in time.
fn next_key(patience: Duration) -> io::Result<Option<Key>> {
    if !event::poll(patience)? {
        return Ok(None);
    }
    Ok(match event::read()? {
        Event::Key(event) if event.kind != KeyEventKind::Release => key_of(event),
        _ => None,
    })
}

fn key_of(event: KeyEvent) -> Option<Key> {
    Some(match event.code {
        KeyCode::Char('c') if event.modifiers.contains(KeyModifiers::CONTROL) => Key::Interrupt,
        KeyCode::Char(letter) => Key::Letter(letter),
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        _ => return None,
    })
}
