//! What a detailed page is asked for: families, vhosts, queues. PURE.

use super::names::{self, FAMILIES, Family};
use crate::management::query::Query;
use crate::name::{QueueName, VhostName};
use regex::{Regex, RegexBuilder};

/// A pattern takes at most so much memory.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Why a page is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadFilter {
    #[error("there is no family '{0}'; there are {known}", known = known())]
    Family(String),
    #[error("'queue' is not a valid regular expression: {0}")]
    Pattern(Box<regex::Error>),
}

fn known() -> String {
    FAMILIES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// What is on a page. Empty lists mean all, but for families.
#[derive(Debug, Default)]
pub(super) struct Filter {
    families: Vec<Family>,
    vhosts: Vec<String>,
    queues: Option<Regex>,
}

impl Filter {
    /// Of a query: `family` and `vhost` may be there more than once.
    pub(super) fn parse(query: &Query) -> Result<Self, BadFilter> {
        let family = |name: &str| names::family(name).ok_or_else(|| BadFilter::Family(name.to_owned()));
        let families = query.all("family").map(family).collect::<Result<_, _>>()?;
        let vhosts = query.all("vhost").map(str::to_owned).collect();
        let compile = |pattern| RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
        let queues = query.get("queue").map(compile).transpose();
        Ok(Self { families, vhosts, queues: queues.map_err(|error| BadFilter::Pattern(Box::new(error)))? })
    }

    pub(super) fn has_family(&self, family: Family) -> bool {
        self.families.contains(&family)
    }

    pub(super) fn has_vhost(&self, vhost: &VhostName) -> bool {
        self.vhosts.is_empty() || self.vhosts.iter().any(|name| name == vhost.as_str())
    }

    pub(super) fn has_queue(&self, vhost: &VhostName, queue: &QueueName) -> bool {
        self.has_vhost(vhost) && self.queues.as_ref().is_none_or(|pattern| pattern.is_match(queue.as_str()))
    }
}
