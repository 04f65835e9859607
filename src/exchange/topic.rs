//! The topic exchange: binding keys are patterns of words, kept in a trie. PURE.
//!
//! A key is words separated by `.`; the empty key has none, and a word may be empty. In a binding key the word `*` stands
//! for exactly one word and `#` for zero or more.
//!
//! Binding and unbinding walk one path. Matching walks all paths at once, word by word: it holds the set of nodes that
//! the words so far lead to. A node reached through `#` stays in the set for good, since `#` takes any further word, so
//! the work for one key is at most (its words) × (nodes that match), whatever the patterns.

use super::destinations::Bound;
use super::{Error, ExchangeType, Matches, Publish, Router};
use crate::arguments::Table;
use crate::definition::{Binding, Destination};
use foldhash::HashMap;
use smallvec::SmallVec;

/// How many words of a binding key may be `#`: RabbitMQ's limit since 4.3.5.
const HASHES_MAX: usize = 2;

#[derive(Debug)]
pub(super) struct Topic;

impl ExchangeType for Topic {
    fn name(&self) -> &'static str {
        "topic"
    }

    fn description(&self) -> &'static str {
        "Routes to the bindings whose pattern of words matches the routing key"
    }

    fn check_binding(&self, binding: &Binding) -> Result<(), Error> {
        let count = words(binding.key.as_str().as_bytes()).filter(|word| *word == b"#").count();
        if count > HASHES_MAX {
            return Err(Error::TooManyWildcards { key: binding.key.clone(), count });
        }
        Ok(())
    }

    fn new_router(&self, _arguments: &Table) -> Box<dyn Router> {
        Box::<TopicRouter>::default()
    }
}

/// The words of a key.
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    (!key.is_empty()).then(|| key.split(|byte| *byte == b'.')).into_iter().flatten()
}

#[derive(Debug, Default)]
struct TopicRouter {
    root: Node,
}

impl Router for TopicRouter {
    fn bind(&mut self, binding: &Binding) {
        let mut node = &mut self.root;
        for word in words(binding.key.as_str().as_bytes()) {
            node = node.child(word);
        }
        node.bound.add(&binding.destination);
    }

    fn unbind(&mut self, binding: &Binding) {
        self.root.remove(&mut words(binding.key.as_str().as_bytes()), &binding.destination);
    }

    fn route<'r>(&'r self, publish: &Publish<'_>, matches: &mut Matches<'r>) {
        for key in publish.keys() {
            Walk::over(&self.root, key).collect(matches);
        }
    }

    fn by_key_alone(&self) -> bool {
        true
    }
}

/// What follows one prefix of binding keys.
#[derive(Debug, Default)]
struct Node {
    words: HashMap<Box<[u8]>, Node>,
    star: Option<Box<Node>>,
    hash: Option<Box<Node>>,
    /// The bindings whose key ends here.
    bound: Bound,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.bound.is_empty() && self.words.is_empty() && self.star.is_none() && self.hash.is_none()
    }

    /// The node behind `word`, made if missing.
    fn child(&mut self, word: &[u8]) -> &mut Node {
        match word {
            b"*" => self.star.get_or_insert_default(),
            b"#" => self.hash.get_or_insert_default(),
            word => self.words.entry(word.into()).or_default(),
        }
    }

    /// Removes one binding to `destination` at the end of `words`, and the nodes that nothing needs any more.
    ///
    /// Recurses once per word: binding keys are short strings.
    fn remove(&mut self, words: &mut dyn Iterator<Item = &[u8]>, destination: &Destination) {
        match words.next() {
            None => self.bound.remove(destination),
            Some(b"*") => remove_from(&mut self.star, words, destination),
            Some(b"#") => remove_from(&mut self.hash, words, destination),
            Some(word) => {
                let Some(child) = self.words.get_mut(word) else { return };
                child.remove(words, destination);
                if child.is_empty() {
                    self.words.remove(word);
                }
            }
        }
    }
}

fn remove_from(
    slot: &mut Option<Box<Node>>,
    words: &mut dyn Iterator<Item = &[u8]>,
    destination: &Destination,
) {
    let Some(child) = slot else { return };
    child.remove(words, destination);
    if child.is_empty() {
        *slot = None;
    }
}

/// The nodes that the words read so far lead to.
#[derive(Default)]
struct Walk<'r> {
    /// Nodes for this many words exactly, with whether their path contains a `#`.
    here: SmallVec<[(&'r Node, bool); 8]>,
    /// Nodes whose path ends with `#`, each once.
    staying: SmallVec<[&'r Node; 4]>,
}

impl<'r> Walk<'r> {
    fn over(root: &'r Node, key: &[u8]) -> Self {
        let mut walk = Walk::default();
        walk.enter(root, false);
        for word in words(key) {
            if walk.here.is_empty() && walk.staying.is_empty() {
                break;
            }
            walk.step(word);
        }
        walk
    }

    fn step(&mut self, word: &[u8]) {
        // The nodes entered while stepping wait for the next word.
        let staying = self.staying.len();
        for (node, behind_hash) in std::mem::take(&mut self.here) {
            self.follow(node, word, behind_hash);
        }
        for index in 0..staying {
            self.follow(self.staying[index], word, true);
        }
    }

    fn follow(&mut self, node: &'r Node, word: &[u8], behind_hash: bool) {
        if let Some(child) = node.words.get(word) {
            self.enter(child, behind_hash);
        }
        if let Some(child) = &node.star {
            self.enter(child, behind_hash);
        }
    }

    fn enter(&mut self, node: &'r Node, behind_hash: bool) {
        self.here.push((node, behind_hash));
        self.enter_hash(node, behind_hash);
    }

    /// `#` may stand for no word: whoever reaches `node` reaches the node behind its `#`, too.
    fn enter_hash(&mut self, node: &'r Node, behind_hash: bool) {
        let Some(hash) = &node.hash else { return };
        // A path without `#` is as long as the words read, so it comes by but once; others may come again.
        if behind_hash && self.staying.iter().any(|node| std::ptr::eq(*node, &raw const **hash)) {
            return;
        }
        self.staying.push(hash);
        self.enter_hash(hash, true);
    }

    fn collect(&self, matches: &mut Matches<'r>) {
        let nodes = self.here.iter().map(|(node, _)| *node).chain(self.staying.iter().copied());
        for node in nodes.filter(|node| !node.bound.is_empty()) {
            if matches.is_empty() {
                matches.extend_with_new(node.bound.iter());
            } else {
                node.bound.iter().for_each(|destination| matches.insert(destination));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;
    use proptest::prelude::*;

    /// Matching as the definition says it, for comparison.
    fn matches_naively(pattern: &[&[u8]], words: &[&[u8]]) -> bool {
        match pattern.split_first() {
            None => words.is_empty(),
            Some((&b"#", rest)) => (0..=words.len()).any(|skip| matches_naively(rest, &words[skip..])),
            Some((&b"*", rest)) => words.split_first().is_some_and(|(_, words)| matches_naively(rest, words)),
            Some((word, rest)) => words
                .split_first()
                .is_some_and(|(first, words)| first == word && matches_naively(rest, words)),
        }
    }

    fn binding(key: &str, queue: u8) -> Binding {
        Binding {
            source: "t".into(),
            destination: Destination::Queue(queue.to_string().as_str().into()),
            key: key.into(),
            arguments: Table::default(),
        }
    }

    fn found(router: &TopicRouter, keys: &[&[u8]]) -> Vec<Destination> {
        let mut matches = Matches::default();
        router.route(&Publish::new(keys[0], &keys[1..], &Properties::default()), &mut matches);
        let mut found: Vec<Destination> = matches.iter().map(|destination| (*destination).clone()).collect();
        found.sort();
        found
    }

    fn expected(bindings: &[Binding], keys: &[&[u8]]) -> Vec<Destination> {
        let leads = |binding: &&Binding| {
            let pattern: Vec<&[u8]> = words(binding.key.as_str().as_bytes()).collect();
            keys.iter().any(|key| matches_naively(&pattern, &words(key).collect::<Vec<_>>()))
        };
        let mut expected: Vec<Destination> =
            bindings.iter().filter(leads).map(|binding| binding.destination.clone()).collect();
        expected.sort();
        expected.dedup();
        expected
    }

    fn router_of(keys: &[&str]) -> (TopicRouter, Vec<Binding>) {
        let bindings: Vec<Binding> = (0..).zip(keys).map(|(queue, key)| binding(key, queue)).collect();
        let mut router = TopicRouter::default();
        bindings.iter().for_each(|binding| router.bind(binding));
        (router, bindings)
    }

    #[test]
    fn empty_words_count_and_the_empty_key_has_no_word() {
        // Observed on RabbitMQ.
        let keys = ["", ".", "a", "a.", ".a", "..", "a.b"];
        for (pattern, matching) in [
            ("", vec![""]),
            ("*", vec!["a"]),
            ("#", keys.to_vec()),
            (".", vec!["."]),
            ("*.*", vec![".", "a.", ".a", "a.b"]),
            ("#.#", keys.to_vec()),
            ("a.#", vec!["a", "a.", "a.b"]),
            ("#.a", vec!["a", ".a"]),
            ("*.", vec![".", "a."]),
            (".#", vec![".", ".a", ".."]),
            ("a*", vec![]),
        ] {
            let (router, _) = router_of(&[pattern]);
            let is_found = |key: &&str| !found(&router, &[key.as_bytes()]).is_empty();
            assert_eq!(
                keys.into_iter().filter(is_found).collect::<Vec<_>>(),
                matching,
                "pattern {pattern:?}"
            );
        }
    }

    #[test]
    fn keys_that_are_not_utf8_match_wildcards() {
        let (router, bindings) = router_of(&["*.b", "#", "a"]);
        let key: &[u8] = &[0xff, 0xfe, b'.', b'b'];
        assert_eq!(found(&router, &[key]), expected(&bindings[..2], &[key]));
    }

    #[test]
    fn several_hashes_take_time_linear_in_the_key() {
        let (router, _) = router_of(&["#.a.#.b", "#.a.*.#.a.#", "#.#.a.#.c"]);
        let long = "a.".repeat(100_000);
        assert_eq!(found(&router, &[long.as_bytes()]).len(), 1);
    }

    #[test]
    fn nothing_is_left_after_the_last_unbind() {
        let (mut router, bindings) = router_of(&["a.b.c", "a.*.#", "#", "", "a.b"]);
        router.bind(&bindings[0]);
        router.unbind(&bindings[0]);
        assert_eq!(found(&router, &[b"a.b.c"]).len(), 3);
        bindings.iter().for_each(|binding| router.unbind(binding));
        assert!(router.root.is_empty());
        router.unbind(&bindings[0]);
    }

    #[test]
    fn more_than_two_hashes_are_refused() {
        assert_eq!(Topic.check_binding(&binding("#.a.#.#b", 0)), Ok(()));
        assert_eq!(
            Topic.check_binding(&binding("#.#.#", 0)).unwrap_err().to_string(),
            "Topic binding key '#.#.#' uses 3 '#' wildcards, at most 2 are allowed"
        );
    }

    fn key_of(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(words), 0..7).prop_map(|words| words.join("."))
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_the_definition_says(
            steps in proptest::collection::vec((key_of(&["a", "b", "", "*", "#"]), 0u8..4, any::<bool>()), 1..40),
            keys in proptest::collection::vec(key_of(&["a", "b", "", "c"]), 1..12),
        ) {
            let mut router = TopicRouter::default();
            let mut bindings: Vec<Binding> = Vec::new();
            for (key, queue, unbinds) in steps {
                // An unbind takes back some earlier binding: a new one would be a no-op.
                if unbinds && !bindings.is_empty() {
                    let gone = bindings.swap_remove(key.len() % bindings.len());
                    router.unbind(&gone);
                } else {
                    let new = binding(&key, queue);
                    router.bind(&new);
                    bindings.push(new);
                }
                for key in &keys {
                    prop_assert_eq!(found(&router, &[key.as_bytes()]), expected(&bindings, &[key.as_bytes()]));
                }
            }
            let all: Vec<&[u8]> = keys.iter().map(String::as_bytes).collect();
            prop_assert_eq!(found(&router, &all), expected(&bindings, &all));
            bindings.iter().for_each(|binding| router.unbind(binding));
            prop_assert!(router.root.is_empty());
        }
    }
}
