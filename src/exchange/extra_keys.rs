//! Sender-selected distribution: the routing keys in the headers `CC` and `BCC`. PURE.
//!
//! The raw headers are read in place: a message without the two costs a walk over its top-level fields, no allocation.
//! `BCC` must not reach consumers; [`without_bcc`] cuts it out and leaves every other byte as the publisher sent it.

use super::Error;
use crate::arguments;
use crate::message::Properties;
use smallvec::SmallVec;

/// The keys beyond the one a message was published with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtraKeys<'a> {
    /// The keys of `CC`, then those of `BCC`.
    pub keys: SmallVec<[&'a [u8]; 4]>,
    /// Whether there is a `BCC` header, so that [`without_bcc`] is due.
    pub has_bcc: bool,
}

/// The extra keys of a message.
///
/// Elements of the two arrays that are no strings are passed over, as RabbitMQ does.
/// # Errors
/// [`Error::ExtraKeysType`] when a header is no array.
pub fn extra_keys<'a>(properties: &Properties<'a>) -> Result<ExtraKeys<'a>, Error> {
    let mut extra = ExtraKeys::default();
    let Some(raw) = properties.headers else { return Ok(extra) };
    let (mut cc, mut bcc) = (None, None);
    for field in fields(raw) {
        match field.name {
            b"CC" if cc.is_none() => cc = Some(field),
            b"BCC" if bcc.is_none() => bcc = Some(field),
            _ => {}
        }
    }
    extra.has_bcc = bcc.is_some();
    for (header, field) in [("CC", cc), ("BCC", bcc)] {
        match field {
            None => {}
            Some(field) if field.kind == b'A' => extra.keys.extend(strings(field.value)),
            Some(_) => return Err(Error::ExtraKeysType { header, kind: type_of(raw, header) }),
        }
    }
    Ok(extra)
}

/// A copy of a property list without its `BCC` header. An empty table of headers stays.
pub fn without_bcc(raw_properties: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw_properties.len());
    let Ok(properties) = Properties::parse(raw_properties) else { return raw_properties.to_vec() };
    let Some(headers) = properties.headers else { return raw_properties.to_vec() };
    // Before the headers stand the flags and two short strings, each with one byte of length.
    let before = [properties.content_type, properties.content_encoding];
    let start = 2 + before.into_iter().flatten().map(|text| 1 + text.len()).sum::<usize>();
    out.extend_from_slice(&raw_properties[..start + 4]);
    for field in fields(headers).filter(|field| field.name != b"BCC") {
        out.extend_from_slice(field.whole);
    }
    let kept = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&kept.to_be_bytes());
    out.extend_from_slice(&raw_properties[start + headers.len()..]);
    out
}

/// RabbitMQ's word for a header's type; on the way to an error only.
fn type_of(raw_headers: &[u8], name: &str) -> &'static str {
    let table = arguments::parse_table(raw_headers).unwrap_or_default();
    arguments::get(&table, name).map_or("undefined", arguments::type_name)
}

/// A header's value as it stands in the raw headers, its type first.
pub(super) fn raw_header<'a>(raw_headers: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let field = fields(raw_headers).find(|field| field.name == name)?;
    field.whole.get(1 + name.len()..)
}

/// One field of a table that [`arguments::check_table`] has accepted.
struct Field<'a> {
    name: &'a [u8],
    kind: u8,
    value: &'a [u8],
    /// Name, type and value as they stand in the table.
    whole: &'a [u8],
}

fn fields(raw_table: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = raw_table.get(4..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (&length, behind) = rest.split_first()?;
        let (name, behind) = behind.split_at_checked(length as usize)?;
        let (kind, value, behind) = split_value(behind)?;
        let (whole, _) = rest.split_at_checked(rest.len() - behind.len())?;
        rest = behind;
        Some(Field { name, kind, value, whole })
    })
}

/// The strings of an array, given with its four bytes of length.
fn strings(raw_array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw_array.get(4..).unwrap_or_default();
    let values = std::iter::from_fn(move || {
        let (kind, value, behind) = split_value(rest)?;
        rest = behind;
        Some((kind, value))
    });
    values.filter(|(kind, _)| *kind == b'S').filter_map(|(_, value)| value.get(4..))
}

/// The typed value at the start of `bytes`: its type, its bytes, and what is behind.
fn split_value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let length = match kind {
        b'V' => 0,
        b't' | b'b' | b'B' => 1,
        b's' | b'u' | b'U' => 2,
        b'I' | b'i' | b'f' => 4,
        b'D' => 5,
        b'l' | b'L' | b'd' | b'T' => 8,
        // b'S' | b'x' | b'F' | b'A': four bytes of length, then as many.
        _ => 4 + u32::from_be_bytes(*rest.first_chunk()?) as usize,
    };
    let (value, behind) = rest.split_at_checked(length)?;
    Some((kind, value, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sized(bytes: &[u8]) -> Vec<u8> {
        [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
    }

    fn field(name: &str, kind: u8, value: &[u8]) -> Vec<u8> {
        [&[name.len() as u8], name.as_bytes(), &[kind], value].concat()
    }

    fn array(texts: &[&[u8]]) -> Vec<u8> {
        sized(&texts.iter().flat_map(|text| [&b"S"[..], &sized(text)].concat()).collect::<Vec<u8>>())
    }

    fn keys_of(headers: &[u8]) -> Result<(Vec<&[u8]>, bool), Error> {
        let properties = Properties { headers: Some(headers), ..Properties::default() };
        extra_keys(&properties).map(|extra| (extra.keys.to_vec(), extra.has_bcc))
    }

    #[test]
    fn cc_comes_before_bcc_and_what_is_no_string_is_passed_over() {
        let mixed = sized(&[&b"t\x01S"[..], &sized(b"d\xff"), b"V"].concat());
        let headers = sized(
            &[
                field("BCC", b'A', &array(&[b"a", b"b"])),
                field("other", b'D', &[1, 0, 0, 0, 7]),
                field("CC", b'A', &mixed),
            ]
            .concat(),
        );
        assert_eq!(keys_of(&headers), Ok((vec![&b"d\xff"[..], b"a", b"b"], true)));
        assert_eq!(keys_of(&sized(&field("cc", b'V', b""))), Ok((vec![], false)));
        assert_eq!(extra_keys(&Properties::default()), Ok(ExtraKeys::default()));
    }

    #[test]
    fn a_header_that_is_no_array_is_refused_in_rabbitmqs_words() {
        let text = sized(&field("CC", b'S', &sized(b"a")));
        let number = sized(&field("BCC", b'I', &[0, 0, 0, 1]));
        assert_eq!(
            keys_of(&text).unwrap_err().to_string(),
            r#"invalid message: {unacceptable_type_in_header,"CC",longstr}"#
        );
        assert_eq!(
            keys_of(&number).unwrap_err().to_string(),
            r#"invalid message: {unacceptable_type_in_header,"BCC",signedint}"#
        );
    }

    #[test]
    fn bcc_is_cut_out_and_every_other_byte_stays() {
        let bcc = field("BCC", b'A', &array(&[b"a"]));
        let (x, y) = (field("x", b'F', &sized(&field("BCC", b'V', b""))), field("y", b't', &[1]));
        let list = |fields: &[&[u8]]| {
            let headers = sized(&fields.concat());
            let mut raw = Vec::new();
            let properties = Properties {
                content_type: Some(b"text/plain"),
                headers: Some(&headers),
                delivery_mode: Some(2),
                cluster_id: Some(b"c"),
                ..Properties::default()
            };
            properties.write(&mut raw);
            raw
        };
        assert_eq!(without_bcc(&list(&[&x, &bcc, &y, &bcc])), list(&[&x, &y]));
        assert_eq!(without_bcc(&list(&[&bcc])), list(&[]));
        assert_eq!(without_bcc(&list(&[&x])), list(&[&x]));
        assert_eq!(without_bcc(&[0x10, 0, 2]), [0x10, 0, 2]);
    }
}
