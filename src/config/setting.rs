//! A setting: how it is called, what it means, how it is set; and which setting a key or a variable stands for. PURE.
//!
//! The settings themselves are in `settings`.

use super::Config;
use super::settings::all;

/// A setting: how it is called, what it means, how it is set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The key. A part `*` stands for a name of the operator's choice; at the end it may have dots.
    pub key: &'static str,
    /// Other keys with the same meaning.
    pub aliases: &'static [&'static str],
    /// The default as it would stand in a file; empty = not set.
    pub default: &'static str,
    /// The name that stands for the `*` in the default.
    pub(super) default_name: &'static str,
    /// The unit of the value, or what kind of value it is.
    pub unit: &'static str,
    /// What it does.
    pub doc: &'static str,
    /// RabbitMQ's variable for it, as its container images have it.
    pub rabbitmq_variable: Option<&'static str>,
    /// Whether a running node takes a new value; else it has to be started again.
    pub is_live: bool,
    /// Whether the value is shown to nobody.
    pub is_secret: bool,
    /// Whether the entries are one list: a layer that mentions it replaces that of the layers below.
    pub(super) is_list: bool,
    /// Keys of settings that mean nothing any more in the layers below one that sets this.
    pub(super) replaces: &'static [&'static str],
    /// Checks the value (with the name that stands for the `*`) and puts it in its place.
    pub(super) set: fn(&mut Config, &str, &str) -> Result<(), String>,
}

/// What most entries have in common.
pub(super) const PLAIN: Setting = Setting {
    key: "",
    aliases: &[],
    default: "",
    default_name: "",
    unit: "",
    doc: "",
    rabbitmq_variable: None,
    is_live: false,
    is_secret: false,
    is_list: false,
    replaces: &[],
    set: |_, _, _| Ok(()),
};

impl Setting {
    /// The default as key and value, if there is one.
    pub(super) fn default_assignment(&self) -> Option<(String, &'static str)> {
        (!self.default.is_empty()).then(|| (self.key_of(self.default_name), self.default))
    }

    /// What stands for the `*` in `key` (nothing, where the setting has none), if `key` is this setting.
    pub(super) fn name_in<'a>(&self, key: &'a str) -> Option<&'a str> {
        if self.keys().any(|own| own == key) {
            return Some("");
        }
        self.keys().find_map(|pattern| name_in(pattern, key))
    }

    /// The key with a name for its `*`.
    pub(super) fn key_of(&self, name: &str) -> String {
        self.key.replace('*', name)
    }

    /// When a new value counts: `live`, or after a `restart`.
    pub fn takes_effect(&self) -> &'static str {
        if self.is_live { "live" } else { "restart" }
    }

    fn keys(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.key).chain(self.aliases.iter().copied())
    }
}

/// What stands for the `*` of a pattern in a key, if the key is of that form. Only at the end it may have dots.
pub(super) fn name_in<'a>(pattern: &str, key: &'a str) -> Option<&'a str> {
    let (start, end) = pattern.split_once('*')?;
    let name = key.strip_prefix(start)?.strip_suffix(end)?;
    (!name.is_empty() && (end.is_empty() || !name.contains('.'))).then_some(name)
}

/// Every key that there is, with `*` where a name of the operator's choice stands.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    all().flat_map(Setting::keys)
}

/// The setting with this key, and what stands for its `*`. A key that is written out counts before one with a `*`.
pub(super) fn find(key: &str) -> Option<(&'static Setting, &str)> {
    let exact = all().find(|setting| setting.keys().any(|own| own == key));
    let exact = exact.map(|setting| (setting, ""));
    exact.or_else(|| all().find_map(|setting| setting.name_in(key).map(|name| (setting, name))))
}

/// The key's variable without `WARREN_`: in capitals, with underscores for dots.
pub(super) fn variable_of_key(key: &str) -> String {
    key.to_ascii_uppercase().replace(['.', '-'], "_")
}

/// The key whose variable is `WARREN_<rest>`. A free name comes out in lower case: variables have no other.
pub(super) fn key_of_variable(rest: &str) -> Option<String> {
    let exact = keys().find(|key| variable_of_key(key) == rest).map(str::to_owned);
    exact.or_else(|| {
        keys().filter(|key| key.contains('*')).find_map(|pattern| {
            let name = name_in(&variable_of_key(pattern), rest)?.to_ascii_lowercase();
            Some(pattern.replace('*', &name))
        })
    })
}
