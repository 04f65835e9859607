//! An AMQP 0-9-1 codec of the tests' own: methods as texts, so that expectations read like a protocol trace.
//!
//! It shares nothing with the broker's codec (an error in one cannot hide in the other) and it can write what is not
//! allowed. A method is written as `queue.declare queue=~q durable`: fields by name, bits by their bare name, absent
//! fields zero or empty. It is shown the same way, with empty fields left out. `~` stands for the scenario's prefix.

/// Every method: class, method, name, fields. Types: `o` octet, `h` short, `L` long, `Q` long long, `s` short string,
/// `S` long string, `b` bit, `T` table.
pub(crate) const METHODS: &[(u16, u16, &str, &str)] = &[
    (
        10,
        10,
        "connection.start",
        "version-major:o version-minor:o server-properties:T mechanisms:S locales:S",
    ),
    (10, 11, "connection.start-ok", "client-properties:T mechanism:s response:S locale:s"),
    (10, 20, "connection.secure", "challenge:S"),
    (10, 21, "connection.secure-ok", "response:S"),
    (10, 30, "connection.tune", "channel-max:h frame-max:L heartbeat:h"),
    (10, 31, "connection.tune-ok", "channel-max:h frame-max:L heartbeat:h"),
    (10, 40, "connection.open", "vhost:s reserved-1:s reserved-2:b"),
    (10, 41, "connection.open-ok", "reserved-1:s"),
    (10, 50, "connection.close", "code:h text:s class:h method:h"),
    (10, 51, "connection.close-ok", ""),
    (10, 60, "connection.blocked", "reason:s"),
    (10, 61, "connection.unblocked", ""),
    (10, 70, "connection.update-secret", "secret:S reason:s"),
    (10, 71, "connection.update-secret-ok", ""),
    (20, 10, "channel.open", "reserved-1:s"),
    (20, 11, "channel.open-ok", "reserved-1:S"),
    (20, 20, "channel.flow", "active:b"),
    (20, 21, "channel.flow-ok", "active:b"),
    (20, 40, "channel.close", "code:h text:s class:h method:h"),
    (20, 41, "channel.close-ok", ""),
    (30, 10, "access.request", "realm:s exclusive:b passive:b active:b write:b read:b"),
    (30, 11, "access.request-ok", "ticket:h"),
    (
        40,
        10,
        "exchange.declare",
        "reserved-1:h exchange:s type:s passive:b durable:b auto-delete:b internal:b no-wait:b arguments:T",
    ),
    (40, 11, "exchange.declare-ok", ""),
    (40, 20, "exchange.delete", "reserved-1:h exchange:s if-unused:b no-wait:b"),
    (40, 21, "exchange.delete-ok", ""),
    (40, 30, "exchange.bind", "reserved-1:h destination:s source:s key:s no-wait:b arguments:T"),
    (40, 31, "exchange.bind-ok", ""),
    (40, 40, "exchange.unbind", "reserved-1:h destination:s source:s key:s no-wait:b arguments:T"),
    (40, 51, "exchange.unbind-ok", ""),
    (
        50,
        10,
        "queue.declare",
        "reserved-1:h queue:s passive:b durable:b exclusive:b auto-delete:b no-wait:b arguments:T",
    ),
    (50, 11, "queue.declare-ok", "queue:s messages:L consumers:L"),
    (50, 20, "queue.bind", "reserved-1:h queue:s exchange:s key:s no-wait:b arguments:T"),
    (50, 21, "queue.bind-ok", ""),
    (50, 30, "queue.purge", "reserved-1:h queue:s no-wait:b"),
    (50, 31, "queue.purge-ok", "messages:L"),
    (50, 40, "queue.delete", "reserved-1:h queue:s if-unused:b if-empty:b no-wait:b"),
    (50, 41, "queue.delete-ok", "messages:L"),
    (50, 50, "queue.unbind", "reserved-1:h queue:s exchange:s key:s arguments:T"),
    (50, 51, "queue.unbind-ok", ""),
    (60, 10, "basic.qos", "size:L prefetch:h global:b"),
    (60, 11, "basic.qos-ok", ""),
    (
        60,
        20,
        "basic.consume",
        "reserved-1:h queue:s tag:s no-local:b no-ack:b exclusive:b no-wait:b arguments:T",
    ),
    (60, 21, "basic.consume-ok", "tag:s"),
    (60, 30, "basic.cancel", "tag:s no-wait:b"),
    (60, 31, "basic.cancel-ok", "tag:s"),
    (60, 40, "basic.publish", "reserved-1:h exchange:s key:s mandatory:b immediate:b"),
    (60, 50, "basic.return", "code:h text:s exchange:s key:s"),
    (60, 60, "basic.deliver", "tag:s delivery:Q redelivered:b exchange:s key:s"),
    (60, 70, "basic.get", "reserved-1:h queue:s no-ack:b"),
    (60, 71, "basic.get-ok", "delivery:Q redelivered:b exchange:s key:s left:L"),
    (60, 72, "basic.get-empty", "reserved-1:s"),
    (60, 80, "basic.ack", "delivery:Q multiple:b"),
    (60, 90, "basic.reject", "delivery:Q requeue:b"),
    (60, 100, "basic.recover-async", "requeue:b"),
    (60, 110, "basic.recover", "requeue:b"),
    (60, 111, "basic.recover-ok", ""),
    (60, 120, "basic.nack", "delivery:Q multiple:b requeue:b"),
    (60, 200, "basic.credit", "tag:s credit:L drain:b"),
    (85, 10, "confirm.select", "no-wait:b"),
    (85, 11, "confirm.select-ok", ""),
    (90, 10, "tx.select", ""),
    (90, 11, "tx.select-ok", ""),
    (90, 20, "tx.commit", ""),
    (90, 21, "tx.commit-ok", ""),
    (90, 30, "tx.rollback", ""),
    (90, 31, "tx.rollback-ok", ""),
];

/// The fields of a method's or property list's description.
fn fields(spec: &str) -> impl Iterator<Item = (&str, char)> {
    spec.split_whitespace().map(|field| {
        let (name, kind) = field.split_once(':').unwrap();
        (name, kind.chars().next().unwrap())
    })
}

/// The name of a method, or its numbers.
pub(crate) fn method_name(class: u16, method: u16) -> String {
    match METHODS.iter().find(|(c, m, ..)| (*c, *m) == (class, method)) {
        Some((.., name, _)) => (*name).to_string(),
        None => format!("{class}/{method}"),
    }
}

/// A field table's value, by its letter on the wire.
#[derive(Clone, Debug, PartialEq)]
#[allow(non_camel_case_types)]
pub(crate) enum Value {
    Bool(bool),
    b(i8),
    B(u8),
    s(i16),
    u(u16),
    I(i32),
    i(u32),
    l(i64),
    f(f32),
    d(f64),
    D(u8, u32),
    S(Vec<u8>),
    x(Vec<u8>),
    T(u64),
    F(Vec<(String, Value)>),
    A(Vec<Value>),
    V,
}

/// A long string.
pub(crate) fn text(value: &str) -> Value {
    Value::S(value.as_bytes().to_vec())
}

/// A field table.
pub(crate) type Table<'a> = &'a [(&'a str, Value)];

/// A table's fields as [`Value::F`] and the frames of properties need them.
pub(crate) fn owned(table: Table<'_>) -> Vec<(String, Value)> {
    table.iter().map(|(name, value)| ((*name).to_string(), value.clone())).collect()
}

/// Writes a short string; what is longer than 255 bytes is cut, so that the frame stays well formed.
pub(crate) fn put_short(out: &mut Vec<u8>, text: &[u8]) {
    let length = text.len().min(255);
    out.push(length as u8);
    out.extend_from_slice(&text[..length]);
}

/// Writes a long string.
pub(crate) fn put_long(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(&(text.len() as u32).to_be_bytes());
    out.extend_from_slice(text);
}

/// Writes a table with its length.
pub(crate) fn put_table(out: &mut Vec<u8>, table: &[(String, Value)], prefix: &str) {
    let mut bytes = Vec::new();
    for (name, value) in table {
        put_short(&mut bytes, name.as_bytes());
        put_value(&mut bytes, value, prefix);
    }
    put_long(out, &bytes);
}

fn put_value(out: &mut Vec<u8>, value: &Value, prefix: &str) {
    let mut put = |letter: u8, bytes: &[u8]| {
        out.push(letter);
        out.extend_from_slice(bytes);
    };
    match value {
        Value::Bool(v) => put(b't', &[u8::from(*v)]),
        Value::b(v) => put(b'b', &v.to_be_bytes()),
        Value::B(v) => put(b'B', &v.to_be_bytes()),
        Value::s(v) => put(b's', &v.to_be_bytes()),
        Value::u(v) => put(b'u', &v.to_be_bytes()),
        Value::I(v) => put(b'I', &v.to_be_bytes()),
        Value::i(v) => put(b'i', &v.to_be_bytes()),
        Value::l(v) => put(b'l', &v.to_be_bytes()),
        Value::f(v) => put(b'f', &v.to_be_bytes()),
        Value::d(v) => put(b'd', &v.to_be_bytes()),
        Value::T(v) => put(b'T', &v.to_be_bytes()),
        Value::D(scale, v) => {
            put(b'D', &[*scale]);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::S(v) => {
            put(b'S', &[]);
            match std::str::from_utf8(v) {
                Ok(text) => put_long(out, text.replace('~', prefix).as_bytes()),
                Err(_) => put_long(out, v),
            }
        }
        Value::x(v) => {
            put(b'x', &[]);
            put_long(out, v);
        }
        Value::F(v) => {
            put(b'F', &[]);
            put_table(out, v, prefix);
        }
        Value::A(v) => {
            put(b'A', &[]);
            let mut bytes = Vec::new();
            v.iter().for_each(|value| put_value(&mut bytes, value, prefix));
            put_long(out, &bytes);
        }
        Value::V => put(b'V', &[]),
    }
}

/// The payload of a method frame for a text such as `basic.ack delivery=1 multiple`.
pub(crate) fn encode(method: &str, table: Table<'_>, prefix: &str) -> Vec<u8> {
    let (name, mut given) = method.split_once(' ').map_or((method, Vec::new()), |(name, rest)| {
        let given = rest.split(' ').map(|field| field.split_once('=').unwrap_or((field, "")));
        (name, given.collect::<Vec<_>>())
    });
    let (class, id, _, spec) =
        METHODS.iter().find(|(.., n, _)| *n == name).unwrap_or_else(|| panic!("no method {name}"));
    let mut take = |field: &str| {
        let at = given.iter().position(|(name, _)| *name == field)?;
        Some(given.remove(at).1.replace('~', prefix))
    };
    let mut out = [class.to_be_bytes(), id.to_be_bytes()].concat();
    let mut bits = 0;
    for (field, kind) in fields(spec) {
        let value = take(field);
        if kind == 'b' {
            if bits % 8 == 0 {
                out.push(0);
            }
            *out.last_mut().unwrap() |= u8::from(value.is_some()) << (bits % 8);
            bits += 1;
            continue;
        }
        bits = 0;
        let value = value.unwrap_or_default();
        let number = || if value.is_empty() { 0 } else { value.parse::<u64>().unwrap() };
        match kind {
            'o' => out.push(number() as u8),
            'h' => out.extend_from_slice(&(number() as u16).to_be_bytes()),
            'L' => out.extend_from_slice(&(number() as u32).to_be_bytes()),
            'Q' => out.extend_from_slice(&number().to_be_bytes()),
            's' => put_short(&mut out, value.as_bytes()),
            'S' => put_long(&mut out, value.as_bytes()),
            _ => put_table(&mut out, &owned(table), prefix),
        }
    }
    assert!(given.is_empty(), "{name} has no fields {given:?}");
    out
}

/// Reads wire types from the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(length);
        self.0 = rest;
        head
    }

    pub(crate) fn number(&mut self, length: usize) -> u64 {
        self.bytes(length).iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    pub(crate) fn short(&mut self) -> String {
        let length = self.number(1) as usize;
        String::from_utf8_lossy(self.bytes(length)).into_owned()
    }

    pub(crate) fn long(&mut self) -> &'a [u8] {
        let length = self.number(4) as usize;
        self.bytes(length)
    }

    pub(crate) fn table(&mut self) -> Vec<(String, Value)> {
        let mut inner = Reader(self.long());
        let mut table = Vec::new();
        while !inner.0.is_empty() {
            table.push((inner.short(), inner.value()));
        }
        table
    }

    fn value(&mut self) -> Value {
        match self.number(1) as u8 {
            b't' => Value::Bool(self.number(1) != 0),
            b'b' => Value::b(self.number(1) as i8),
            b'B' => Value::B(self.number(1) as u8),
            b's' => Value::s(self.number(2) as i16),
            b'u' => Value::u(self.number(2) as u16),
            b'I' => Value::I(self.number(4) as i32),
            b'i' => Value::i(self.number(4) as u32),
            b'l' => Value::l(self.number(8) as i64),
            b'f' => Value::f(f32::from_bits(self.number(4) as u32)),
            b'd' => Value::d(f64::from_bits(self.number(8))),
            b'D' => Value::D(self.number(1) as u8, self.number(4) as u32),
            b'T' => Value::T(self.number(8)),
            b'S' => Value::S(self.long().to_vec()),
            b'x' => Value::x(self.long().to_vec()),
            b'F' => Value::F(self.table()),
            b'A' => {
                let mut inner = Reader(self.long());
                let mut values = Vec::new();
                while !inner.0.is_empty() {
                    values.push(inner.value());
                }
                Value::A(values)
            }
            b'V' => Value::V,
            other => panic!("the broker sent a field value of unknown type {:?}", other as char),
        }
    }
}

/// A table as a text: `{a='x' n=I5}`.
pub(crate) fn show_table(table: &[(String, Value)]) -> String {
    let fields: Vec<_> = table.iter().map(|(name, value)| format!("{name}={}", show_value(value))).collect();
    format!("{{{}}}", fields.join(" "))
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Bool(v) => v.to_string(),
        Value::S(v) => format!("'{}'", String::from_utf8_lossy(v)),
        Value::F(v) => show_table(v),
        Value::A(v) => format!("[{}]", v.iter().map(show_value).collect::<Vec<_>>().join(" ")),
        Value::D(scale, v) => format!("D{v}e-{scale}"),
        other => format!("{other:?}").replace(['(', ')'], ""),
    }
}

/// A decoded method: its name and its fields, by name, as texts. A bit that is set is the text `true`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) name: String,
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The method's table, if it has one.
    pub(crate) table: Vec<(String, Value)>,
}

impl Decoded {
    /// Reads the payload of a method frame.
    pub(crate) fn read(payload: &[u8]) -> Self {
        let mut reader = Reader(payload);
        let (class, id) = (reader.number(2) as u16, reader.number(2) as u16);
        let found = METHODS.iter().find(|(c, m, ..)| (*c, *m) == (class, id));
        let (.., name, spec) = found.unwrap_or_else(|| panic!("the broker sent method {class}/{id}"));
        let mut decoded = Decoded { name: (*name).to_string(), ..Decoded::default() };
        let (mut bits, mut octet) = (0, 0);
        for (field, kind) in fields(spec) {
            if kind == 'b' {
                if bits % 8 == 0 {
                    octet = reader.number(1);
                }
                if octet >> (bits % 8) & 1 == 1 {
                    decoded.fields.push((field, "true".into()));
                }
                bits += 1;
                continue;
            }
            bits = 0;
            let value = match kind {
                'o' => reader.number(1).to_string(),
                'h' => reader.number(2).to_string(),
                'L' => reader.number(4).to_string(),
                'Q' => reader.number(8).to_string(),
                's' => reader.short(),
                'S' => String::from_utf8_lossy(reader.long()).into_owned(),
                _ => {
                    decoded.table = reader.table();
                    continue;
                }
            };
            decoded.fields.push((field, value));
        }
        assert!(reader.0.is_empty(), "{name} has {} bytes too many", reader.0.len());
        decoded
    }

    /// A field's text; empty if there is none.
    pub(crate) fn get(&self, field: &str) -> &str {
        self.fields.iter().find(|(name, _)| *name == field).map_or("", |(_, value)| value)
    }

    /// A field's number.
    pub(crate) fn number(&self, field: &str) -> u64 {
        self.get(field).parse().unwrap_or_else(|_| panic!("{} has no number {field}", self.name))
    }

    /// The method as a text. A close shows its code and text, and the method it blames by name.
    pub(crate) fn show(&self) -> String {
        let mut out = self.name.clone();
        if matches!(&*self.name, "connection.close" | "channel.close") {
            let blamed = method_name(self.number("class") as u16, self.number("method") as u16);
            out += &format!(" {} {} ({blamed})", self.get("code"), self.get("text"));
            return out;
        }
        for (field, value) in &self.fields {
            match &**value {
                "" => {}
                _ if field.starts_with("reserved") => {}
                "true" => out += &format!(" {field}"),
                value => out += &format!(" {field}={value}"),
            }
        }
        out
    }
}

/// The content properties in the order of their flags.
const PROPERTIES: &str = "content-type:s content-encoding:s headers:T delivery-mode:o priority:o correlation-id:s \
                          reply-to:s expiration:s message-id:s timestamp:Q type:s user-id:s app-id:s cluster-id:s";

/// Content properties: texts by name, and the headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Properties {
    pub(crate) texts: Vec<(&'static str, String)>,
    pub(crate) headers: Option<Vec<(String, Value)>>,
}

impl Properties {
    /// Properties from a text such as `delivery-mode=2 expiration=60000`.
    pub(crate) fn new(given: &str) -> Self {
        let mut properties = Properties::default();
        for field in given.split_whitespace() {
            let (name, value) = field.split_once('=').unwrap();
            let (name, _) = fields(PROPERTIES).find(|(known, _)| *known == name).expect("a property");
            properties.texts.push((name, value.into()));
        }
        properties
    }

    /// The same with headers.
    pub(crate) fn headers(mut self, table: Table<'_>) -> Self {
        self.headers = Some(owned(table));
        self
    }

    /// A property's text; empty if it is absent.
    pub(crate) fn get(&self, property: &str) -> &str {
        self.texts.iter().find(|(name, _)| *name == property).map_or("", |(_, value)| value)
    }

    /// The property list: flags, then values.
    pub(crate) fn write(&self, prefix: &str) -> Vec<u8> {
        let (mut flags, mut values) = (0u16, Vec::new());
        for (at, (name, kind)) in fields(PROPERTIES).enumerate() {
            let text = self.texts.iter().find(|(known, _)| *known == name).map(|(_, value)| value);
            match (kind, text, &self.headers) {
                ('T', _, Some(headers)) => put_table(&mut values, headers, prefix),
                ('o', Some(text), _) => values.push(text.parse().unwrap()),
                ('Q', Some(text), _) => values.extend_from_slice(&text.parse::<u64>().unwrap().to_be_bytes()),
                ('s', Some(text), _) => put_short(&mut values, text.replace('~', prefix).as_bytes()),
                _ => continue,
            }
            flags |= 1 << (15 - at);
        }
        [&flags.to_be_bytes()[..], &values].concat()
    }

    /// Reads a property list.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let mut reader = Reader(bytes);
        let flags = reader.number(2);
        let mut properties = Properties::default();
        for (at, (name, kind)) in fields(PROPERTIES).enumerate() {
            if flags >> (15 - at) & 1 == 0 {
                continue;
            }
            let value = match kind {
                'T' => {
                    properties.headers = Some(reader.table());
                    continue;
                }
                'o' => reader.number(1).to_string(),
                'Q' => reader.number(8).to_string(),
                _ => reader.short(),
            };
            properties.texts.push((name, value));
        }
        assert!(reader.0.is_empty(), "a property list with bytes behind it");
        properties
    }

    /// As a text: ` {priority=3 headers={a='x'}}`, or nothing.
    pub(crate) fn show(&self) -> String {
        let mut shown: Vec<_> = self.texts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        shown.extend(self.headers.as_ref().map(|headers| format!("headers={}", show_table(headers))));
        if shown.is_empty() { String::new() } else { format!(" {{{}}}", shown.join(" ")) }
    }
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend_from_slice(&channel.to_be_bytes());
    put_long(&mut out, payload);
    out.push(0xCE);
    out
}
