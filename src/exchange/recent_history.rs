//! The recent history exchange: a message goes to every binding, whatever the keys, and the last ones are kept for
//! destinations that are bound later. PURE.
//!
//! The router only says which messages are to be kept. The broker keeps them, in the exchange's [`History`], and gives
//! them to a new destination before any later message reaches it.

use super::extra_keys::raw_header;
use super::fanout::FanoutRouter;
use super::{Error, ExchangeType, Matches, Publish, Router};
use crate::arguments::{self, Table, Value};
use crate::definition::Binding;
use crate::message::Message;
use std::collections::VecDeque;
use std::sync::Arc;

/// How many messages are kept where nothing else is said.
const LENGTH_DEFAULT: usize = 20;
/// How much a history may take of memory, whatever its length: nothing else gives it back while the exchange lives.
const BYTES_MAX: usize = 64 * 1024 * 1024;

const LENGTH: &str = "x-recent-history-length";
const NO_STORE: &[u8] = b"x-recent-history-no-store";

#[derive(Debug)]
pub(super) struct RecentHistory;

impl ExchangeType for RecentHistory {
    fn name(&self) -> &'static str {
        "x-recent-history"
    }

    fn description(&self) -> &'static str {
        "Routes to all bindings, and the last messages to new ones"
    }

    fn check_arguments(&self, arguments: &Table) -> Result<(), Error> {
        length(arguments).map(|_| ())
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::<RecentHistoryRouter>::default()
    }

    fn new_history(&self, arguments: &Table) -> Option<History> {
        Some(History::new(length(arguments).unwrap_or(LENGTH_DEFAULT)))
    }
}

fn length(arguments: &Table) -> Result<usize, Error> {
    let Some(value) = arguments::get(arguments, LENGTH) else { return Ok(LENGTH_DEFAULT) };
    let is_signed = matches!(
        value,
        Value::ShortShortInt(_) | Value::ShortInt(_) | Value::LongInt(_) | Value::LongLongInt(_)
    );
    // RabbitMQ refuses the unsigned types, too.
    let length = arguments::as_integer(value).filter(|length| is_signed && *length > 0);
    let length = length.and_then(|length| usize::try_from(length).ok());
    length.ok_or_else(|| Error::HistoryLength { value: arguments::term(value) })
}

#[derive(Debug, Default)]
struct RecentHistoryRouter(FanoutRouter);

impl Router for RecentHistoryRouter {
    fn bind(&mut self, binding: &Binding) {
        self.0.bind(binding);
    }

    fn unbind(&mut self, binding: &Binding) {
        self.0.unbind(binding);
    }

    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>) {
        self.0.route(publish, matches);
    }

    /// Every message is to be seen here.
    fn by_key_alone(&self) -> bool {
        false
    }

    fn is_kept(&self, publish: &Publish<'_>) -> bool {
        let no_store = publish.properties.headers.and_then(|raw| raw_header(raw, NO_STORE));
        !matches!(no_store, Some([b't', truth]) if *truth != 0)
    }
}

/// The last messages that an exchange saw, within a bound of their number and one of their bytes.
#[derive(Debug)]
pub struct History {
    /// Oldest first.
    messages: VecDeque<Arc<Message>>,
    length_max: usize,
    bytes_max: usize,
    bytes: usize,
}

impl History {
    fn new(length_max: usize) -> Self {
        Self { messages: VecDeque::new(), length_max, bytes_max: BYTES_MAX, bytes: 0 }
    }

    /// Adds a message; the oldest go where the bounds ask for it.
    pub fn keep(&mut self, message: &Arc<Message>) {
        self.messages.push_back(Arc::clone(message));
        self.bytes += message.memory_bytes();
        while self.messages.len() > self.length_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.messages.pop_front() else { break };
            self.bytes -= oldest.memory_bytes();
        }
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> Vec<Arc<Message>> {
        self.messages.iter().map(Arc::clone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;

    fn table(argument: Option<Value>) -> Table {
        let mut table = Table::default();
        if let Some(value) = argument {
            table.insert(LENGTH.into(), value);
        }
        table
    }

    fn message(body: &[u8]) -> Arc<Message> {
        Arc::new(Message::new("x".into(), b"", &[0, 0], &Properties::default(), &[body]))
    }

    fn bodies(history: &History) -> Vec<String> {
        let body = |message: &Arc<Message>| String::from_utf8_lossy(message.body()).into_owned();
        history.messages().iter().map(body).collect()
    }

    #[test]
    fn the_last_messages_are_kept_in_order() {
        let mut history = RecentHistory.new_history(&table(Some(Value::ShortShortInt(3)))).unwrap();
        assert_eq!(bodies(&history), [""; 0]);
        for body in ["a", "b", "c", "d", "e"] {
            history.keep(&message(body.as_bytes()));
        }
        assert_eq!(bodies(&history), ["c", "d", "e"]);
        let mut history = RecentHistory.new_history(&table(None)).unwrap();
        (0..50).for_each(|n| history.keep(&message(n.to_string().as_bytes())));
        assert_eq!(bodies(&history), (30..50).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn a_history_takes_no_more_bytes_than_it_may() {
        let each = message(&[0; 1000]).memory_bytes();
        let mut history = History { bytes_max: 2 * each, ..History::new(20) };
        for byte in [1, 2, 3] {
            history.keep(&message(&[byte; 1000]));
        }
        assert_eq!((history.messages().len(), history.bytes), (2, 2 * each));
        history.keep(&message(&[4; 1001]));
        assert_eq!((history.messages().len(), history.bytes), (1, each + 1));
        history.keep(&message(&[5; 3000]));
        assert_eq!((history.messages().len(), history.bytes), (0, 0));
    }

    #[test]
    fn a_length_is_a_positive_integer_of_a_signed_type() {
        let check = |value| RecentHistory.check_arguments(&table(value)).map_err(|error| error.to_string());
        for value in
            [Value::ShortShortInt(1), Value::ShortInt(1), Value::LongInt(7), Value::LongLongInt(1 << 40)]
        {
            assert_eq!(check(Some(value)), Ok(()));
        }
        assert_eq!(check(None), Ok(()));
        for (value, shown) in [
            (Value::LongInt(0), "0"),
            (Value::LongLongInt(-1), "-1"),
            (Value::LongUInt(5), "5"),
            (Value::LongString("20".into()), "<<\"20\">>"),
            (Value::Boolean(true), "true"),
        ] {
            let why =
                format!("Invalid argument {shown}, 'x-recent-history-length' must be a positive integer");
            assert_eq!(check(Some(value)), Err(why));
        }
    }

    #[test]
    fn a_message_says_that_it_is_not_to_be_kept() {
        let router = RecentHistory.new_router(&Table::default());
        let is_kept = |typed_value: Option<&[u8]>| {
            let field = typed_value.map(|value| [&[NO_STORE.len() as u8], NO_STORE, value].concat());
            let headers = field.map(|field| [&(field.len() as u32).to_be_bytes()[..], &field].concat());
            let properties = Properties { headers: headers.as_deref(), ..Properties::default() };
            router.is_kept(&Publish::new(b"", &[], &properties))
        };
        assert!(!is_kept(Some(b"t\x01")));
        for value in [None, Some(&b"t\x00"[..]), Some(b"I\0\0\0\x01"), Some(b"S\0\0\0\x04true"), Some(b"V")] {
            assert!(is_kept(value), "{value:?}");
        }
    }
}
