//! What a user may do in a vhost: the three patterns of [`definition::Permissions`], compiled. PURE.
//!
//! A pattern is searched for anywhere in a resource's name (RabbitMQ does not anchor it either); the empty one matches
//! nothing. RabbitMQ's patterns are PCRE: look-around and back references are refused here, by name.

use crate::definition;
use crate::name::{UserName, VhostName};
use regex::{Regex, RegexBuilder};

/// The largest compiled pattern. The broker must not lend its memory to whoever may set permissions.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What is done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the words are AMQP's users'
pub enum Access {
    Configure,
    Write,
    Read,
}

impl Access {
    /// The word in RabbitMQ's error texts: `write access to exchange …`.
    pub fn name(self) -> &'static str {
        match self {
            Access::Configure => "configure",
            Access::Write => "write",
            Access::Read => "read",
        }
    }
}

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression '{pattern}' for {} access: {reason}", access.name())]
pub struct Error {
    /// Which of the three.
    pub access: Access,
    /// As given.
    pub pattern: String,
    /// What is wrong with it, in one line.
    pub reason: String,
}

/// Compiled permissions.
#[derive(Clone, Debug)]
pub struct Permissions {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

impl Permissions {
    /// Compiles the patterns.
    /// # Errors
    /// [`Error`] for the first that is none.
    pub fn compile(permissions: &definition::Permissions) -> Result<Self, Error> {
        Ok(Self {
            configure: Pattern::compile(Access::Configure, &permissions.configure)?,
            write: Pattern::compile(Access::Write, &permissions.write)?,
            read: Pattern::compile(Access::Read, &permissions.read)?,
        })
    }

    /// Permissions that allow nothing.
    pub fn none() -> Self {
        Self { configure: Pattern::Nothing, write: Pattern::Nothing, read: Pattern::Nothing }
    }

    /// Whether the access to the resource called `name` is allowed. The default exchange goes by `amq.default`.
    pub fn allows(&self, access: Access, name: &str) -> bool {
        let pattern = match access {
            Access::Configure => &self.configure,
            Access::Write => &self.write,
            Access::Read => &self.read,
        };
        pattern.allows(name)
    }
}

/// Compiled topic permissions.
#[derive(Clone, Debug)]
pub struct TopicPermissions {
    write: Pattern,
    read: Pattern,
}

impl TopicPermissions {
    /// Compiles the patterns for a user in a vhost.
    /// # Errors
    /// [`Error`] for the first that is none.
    pub fn compile(
        permissions: &definition::TopicPermissions,
        vhost: &VhostName,
        user: &UserName,
    ) -> Result<Self, Error> {
        let compile = |access, pattern: &str| {
            // No client of AMQP has an id: as in RabbitMQ, that variable stands for itself then.
            let expanded = pattern
                .replace("{username}", &regex::escape(user.as_str()))
                .replace("{vhost}", &regex::escape(vhost.as_str()))
                .replace("{client_id}", &regex::escape("{client_id}"));
            Pattern::compile(access, &expanded)
                .map_err(|error| Error { pattern: pattern.to_owned(), ..error })
        };
        Ok(Self {
            write: compile(Access::Write, &permissions.write)?,
            read: compile(Access::Read, &permissions.read)?,
        })
    }

    /// Permissions that allow nothing.
    pub fn none() -> Self {
        Self { write: Pattern::Nothing, read: Pattern::Nothing }
    }

    /// Whether a routing key may be used: written to publish with, read to bind with.
    pub fn allows(&self, access: Access, key: &str) -> bool {
        match access {
            Access::Write => self.write.allows(key),
            Access::Read => self.read.allows(key),
            Access::Configure => false,
        }
    }
}

/// Two patterns are so common that they are not worth a regular expression.
#[derive(Clone, Debug)]
enum Pattern {
    Nothing,
    Everything,
    Regex(Regex),
}

impl Pattern {
    fn allows(&self, text: &str) -> bool {
        match self {
            Pattern::Nothing => false,
            Pattern::Everything => true,
            Pattern::Regex(regex) => regex.is_match(text),
        }
    }

    fn compile(access: Access, pattern: &str) -> Result<Self, Error> {
        match pattern {
            "" | "^$" => return Ok(Pattern::Nothing),
            ".*" | "^.*" => return Ok(Pattern::Everything),
            _ => {}
        }
        let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
        regex.map(Pattern::Regex).map_err(|error| {
            // The first lines draw the pattern; the last says what is wrong.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Error { access, pattern: pattern.to_owned(), reason }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(configure: &str, write: &str, read: &str) -> Result<Permissions, Error> {
        let [configure, write, read] = [configure, write, read].map(str::to_owned);
        Permissions::compile(&definition::Permissions { configure, write, read })
    }

    #[test]
    fn patterns_match_anywhere_and_the_empty_one_nothing() {
        let permissions = compiled("^mine-", "logs", "").unwrap();
        for (access, name, allowed) in [
            (Access::Configure, "mine-1", true),
            (Access::Configure, "not mine-1", false),
            (Access::Write, "all logs here", true),
            (Access::Write, "other", false),
            (Access::Read, "mine-1", false),
            (Access::Read, "", false),
        ] {
            assert_eq!(permissions.allows(access, name), allowed, "{access:?} {name:?}");
        }
        let all = compiled(".*", "^.*$", "^(amq\\.gen.*|amq\\.default)$").unwrap();
        assert!(all.allows(Access::Configure, "any\nthing"));
        assert!(all.allows(Access::Write, "ärger"));
        assert!(all.allows(Access::Read, "amq.default") && !all.allows(Access::Read, "amq.direct"));
        assert!(!Permissions::none().allows(Access::Read, "x"));
    }

    #[test]
    fn topic_permissions_are_of_routing_keys_and_know_the_user_and_the_vhost() {
        let compiled = |write: &str, read: &str| {
            let definition = definition::TopicPermissions { write: write.into(), read: read.into() };
            TopicPermissions::compile(&definition, &"v.1".into(), &"a+b".into())
        };
        let permissions = compiled(r"^{vhost}\.{username}\.", "^x-{client_id}$").unwrap();
        for (access, key, allowed) in [
            (Access::Write, "v.1.a+b.news", true),
            (Access::Write, "vx1.a+b.news", false),
            (Access::Write, "v.1.aab.news", false),
            (Access::Read, "x-{client_id}", true),
            (Access::Read, "x-1", false),
            (Access::Configure, "v.1.a+b.news", false),
        ] {
            assert_eq!(permissions.allows(access, key), allowed, "{access:?} {key}");
        }
        assert!(!compiled("", ".*").unwrap().allows(Access::Write, ""));
        let error = compiled("{username}(", "").unwrap_err();
        assert_eq!((error.access, error.pattern.as_str()), (Access::Write, "{username}("));
    }

    #[test]
    fn an_invalid_pattern_is_named_with_its_reason() {
        assert_eq!(
            compiled(".*", "(a", "").unwrap_err().to_string(),
            "invalid regular expression '(a' for write access: unclosed group"
        );
        let lookahead = compiled(".*", ".*", "^(?!secret)").unwrap_err();
        assert_eq!((lookahead.access, lookahead.pattern.as_str()), (Access::Read, "^(?!secret)"));
        assert!(lookahead.reason.starts_with("look-around"), "{}", lookahead.reason);
    }

    #[test]
    fn a_pattern_that_would_take_much_memory_is_refused() {
        assert!(compiled("(((a{100}){100}){100})", "", "").unwrap_err().reason.contains("size limit"));
    }
}
