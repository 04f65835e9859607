//! rabbitmqadmin's configuration file: TOML, a section for each node by an alias of the operator's choice.

use super::failure::Failure;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use ureq::http::Uri;

/// The file's name in the home directory.
pub(super) const DEFAULT_NAME: &str = ".rabbitmqadmin.conf";
/// What stands for no file, not even that one.
const NO_FILE: &str = "none";
/// The section that counts when no other is named.
const DEFAULT_ALIAS: &str = "default";
/// The port of an API whose address does not say it.
const PORT: u16 = 15672;

/// What a section says of a node. What is nothing to this tool, as colours of tables, is passed over.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Section {
    pub(super) hostname: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    #[serde(alias = "virtual_host")]
    pub(super) vhost: Option<String>,
    /// With `/api` at its end, or without.
    pub(super) path_prefix: Option<String>,
    base_uri: Option<String>,
    scheme: Option<String>,
    #[serde(default)]
    tls: bool,
}

/// The part of an address that this tool needs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) host: String,
    pub(super) port: u16,
    /// Empty if there is none.
    pub(super) prefix: String,
}

/// Where a section is to be found.
#[derive(Debug)]
pub(super) struct Wanted {
    /// A file that was named, or else the one in the home directory.
    pub(super) file: Option<PathBuf>,
    pub(super) home: Option<PathBuf>,
    pub(super) alias: Option<String>,
}

impl Wanted {
    /// The file that counts, and whether it must be there.
    pub(super) fn path(&self) -> Option<(PathBuf, bool)> {
        match &self.file {
            Some(file) if file == Path::new(NO_FILE) => None,
            Some(file) => Some((file.clone(), true)),
            None => Some((self.home.as_ref()?.join(DEFAULT_NAME), false)),
        }
    }

    /// The section; one without anything where there is no file and none is asked for.
    ///
    /// # Errors
    /// [`Failure::Usage`] with what to do.
    pub(super) fn section(&self) -> Result<Section, Failure> {
        let missing = |alias: &str, place: &str| {
            let text = format!(
                "there is no section [{alias}] for --node: {place}; rabbitmqctl's name of a node is not needed"
            );
            Failure::Usage(text)
        };
        let Some((path, must_exist)) = self.path() else {
            let none = Ok(Section::default());
            return self.alias.as_ref().map_or(none, |alias| Err(missing(alias, "no file is read")));
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => {
                let none = Ok(Section::default());
                let place = format!("{} is not there, and --config names no other file", path.display());
                return self.alias.as_ref().map_or(none, |alias| Err(missing(alias, &place)));
            }
            Err(error) => {
                return Err(Failure::Usage(format!(
                    "cannot read {} ({error}); is --config right?",
                    path.display()
                )));
            }
        };
        let mut sections = parsed(&path, &text)?;
        let alias = self.alias.as_deref().unwrap_or(DEFAULT_ALIAS);
        match sections.remove(alias) {
            Some(section) => section.checked(&path, alias),
            None if self.alias.is_none() && !must_exist => Ok(Section::default()),
            None => {
                let names: Vec<&str> = sections.keys().map(String::as_str).collect();
                let text = format!(
                    "{} has no section [{alias}]; --node names one of: {}",
                    path.display(),
                    names.join(" ")
                );
                Err(Failure::Usage(text))
            }
        }
    }
}

fn parsed(path: &Path, text: &str) -> Result<BTreeMap<String, Section>, Failure> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        let reason = error.message().lines().next().unwrap_or_default();
        Failure::Usage(format!(
            "{}:{line} is no TOML of sections ({reason}); texts need quotes: hostname = \"localhost\". \
             `--config none` goes on without the file",
            path.display()
        ))
    })
}

impl Section {
    /// Takes its address apart.
    fn checked(mut self, path: &Path, alias: &str) -> Result<Section, Failure> {
        let place = format!("{}: [{alias}]", path.display());
        if self.tls || self.scheme.as_deref() == Some("https") {
            return Err(no_tls(&place));
        }
        if let Some(uri) = self.base_uri.take() {
            let Base { host, port, prefix } = base_of(&uri, &place)?;
            (self.hostname, self.port) = (Some(host), Some(port));
            self.path_prefix = Some(prefix).filter(|prefix| !prefix.is_empty()).or(self.path_prefix);
        }
        Ok(self)
    }

    /// Whether it says how a broker is reached over the network.
    pub(super) fn is_of_network(&self) -> bool {
        self.hostname.is_some() || self.port.is_some() || self.username.is_some() || self.password.is_some()
    }
}

/// What to say of TLS, wherever it is asked for.
pub(super) fn no_tls(place: &str) -> Failure {
    Failure::Usage(format!(
        "{place}: the broker's HTTP API has no TLS yet; use http, or the local socket, or a proxy that ends TLS, with \
         a tunnel to it"
    ))
}

/// The parts of `http://host:port/prefix`.
///
/// # Errors
/// [`Failure::Usage`] for what is none, and for TLS.
pub(super) fn base_of(uri: &str, place: &str) -> Result<Base, Failure> {
    let parsed: Option<Uri> = uri.parse().ok();
    let parts = parsed.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.host()?)));
    match parts.zip(parsed.as_ref()) {
        Some((("http", host), uri)) => Ok(Base {
            host: host.to_owned(),
            port: uri.port_u16().unwrap_or(PORT),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        }),
        Some((("https", _), _)) => Err(no_tls(place)),
        _ => Err(Failure::Usage(format!("{place}: '{uri}' is no address, as http://localhost:15672"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str, alias: Option<&str>) -> Result<Section, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.conf");
        std::fs::write(&file, text).unwrap();
        let wanted = Wanted { file: Some(file), home: None, alias: alias.map(str::to_owned) };
        let place = dir.path().display().to_string();
        wanted.section().map_err(|failure| failure.to_string().replace(&place, "."))
    }

    #[test]
    fn a_section_says_where_a_node_is_and_who_logs_in() {
        let text = "[default]\nhostname = 'a'\n\n[\"the other\"]\nhostname = \"b\"\nport = 15673\nusername = 'u'\n\
                    password = 'p'\nvirtual_host = 'v'\npath_prefix = '/x/api'\ntable_style = 'modern'\n";
        let section = wanted(text, None).unwrap();
        assert_eq!(section, Section { hostname: Some("a".into()), ..Section::default() });
        let section = wanted(text, Some("the other")).unwrap();
        let [host, user, password, vhost, prefix] =
            ["b", "u", "p", "v", "/x/api"].map(|text| Some(text.to_owned()));
        let expected = Section {
            hostname: host,
            port: Some(15673),
            username: user,
            password,
            vhost,
            path_prefix: prefix,
            ..Section::default()
        };
        assert_eq!(section, expected);
        let section = wanted("[default]\nbase_uri = 'http://[::1]/x/'\n", None).unwrap();
        let found = (section.hostname.as_deref(), section.port, section.path_prefix.as_deref());
        assert_eq!(found, (Some("[::1]"), Some(15672), Some("/x")));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_what_to_do() {
        for (text, alias, expected) in [
            ("[a]\n[b]\n", None, "./c.conf has no section [default]; --node names one of: a b"),
            ("[a]\n", Some("c"), "./c.conf has no section [c]; --node names one of: a"),
            (
                "[default]\n\nhostname = localhost\n",
                None,
                "./c.conf:3 is no TOML of sections (string values must be quoted, expected literal string); texts need \
                 quotes: hostname = \"localhost\". `--config none` goes on without the file",
            ),
            ("[default]\ntls = true\n", None, "./c.conf: [default]: the broker's HTTP API has no TLS yet"),
            (
                "[default]\nbase_uri = 'https://h'",
                None,
                "./c.conf: [default]: the broker's HTTP API has no TLS yet",
            ),
            (
                "[default]\nbase_uri = 'h'",
                None,
                "./c.conf: [default]: 'h' is no address, as http://localhost:15672",
            ),
        ] {
            let failure = wanted(text, alias).unwrap_err();
            assert!(failure.starts_with(expected), "{failure}");
        }
    }

    #[test]
    fn only_a_file_that_is_named_must_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let at_home = |alias: Option<&str>| Wanted {
            file: None,
            home: Some(dir.path().to_owned()),
            alias: alias.map(str::to_owned),
        };
        assert_eq!(at_home(None).section().unwrap(), Section::default());
        let failure = at_home(Some("a")).section().unwrap_err().to_string();
        assert!(failure.contains("is not there, and --config names no other file"), "{failure}");
        let named = Wanted { file: Some(dir.path().join("x")), home: None, alias: None };
        assert!(named.section().unwrap_err().to_string().contains("is --config right?"));
        std::fs::write(dir.path().join(DEFAULT_NAME), "[a]\nport = 1\n").unwrap();
        assert_eq!(at_home(None).section().unwrap(), Section::default(), "none by default");
        assert_eq!(at_home(Some("a")).section().unwrap().port, Some(1));
        let none = Wanted { file: Some(NO_FILE.into()), ..at_home(None) };
        assert_eq!(none.path(), None);
    }
}
