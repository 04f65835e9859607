//! The known key nearest to an unknown one, for error texts. PURE.

use super::{ignored, setting};

/// What to say of a key that no setting has.
pub(super) fn unknown_key(key: &str) -> String {
    let known = nearest(key, setting::keys().chain(ignored::keys()));
    format!("unknown setting {key}; the nearest known one is {known}")
}

/// What to say of a variable `WARREN_<rest>` that no setting has.
pub(super) fn unknown_variable(rest: &str) -> String {
    let key = nearest(&rest.to_ascii_lowercase().replace('_', "."), setting::keys());
    format!("unknown setting; the nearest known one is WARREN_{}", setting::variable_of_key(&key))
}

/// The key with the fewest edits between it and `key`; where a key has a free name, that of `key` is taken.
fn nearest(key: &str, keys: impl Iterator<Item = &'static str>) -> String {
    let named = |known: &str| {
        let place = known.split('.').position(|part| part == "*")?;
        key.split('.').nth(place)
    };
    let keys = keys.map(|known| known.replace('*', named(known).unwrap_or("1")));
    keys.min_by_key(|known| edits(known, key)).unwrap_or_default()
}

/// How many characters must be inserted, removed or replaced to make one text the other (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_known_one() {
        for (key, expected) in [
            ("heartbeet", "heartbeat"),
            ("listener.tcp.default", "listeners.tcp.default"),
            ("listeners.tpc.1", "listeners.tcp.1"),
            ("management.port", "management.tcp.port"),
            ("default_password", "default_pass"),
            ("vm_memory_high_watermark", "vm_memory_high_watermark.relative"),
            ("disk_free_limit", "disk_free_limit.absolute"),
        ] {
            assert_eq!(nearest(key, setting::keys()), expected, "{key}");
        }
    }

    #[test]
    fn an_unknown_variable_is_answered_with_a_variable() {
        assert_eq!(
            unknown_variable("HEARTBEET"),
            "unknown setting; the nearest known one is WARREN_HEARTBEAT"
        );
    }
}
