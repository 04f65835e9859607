//! Objects of which only those fields are made that are asked for. PURE.

use serde_json::{Map, Value};

/// Which fields of an object are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::management) enum Wanted {
    /// All that there are.
    All,
    /// Those of these names, and of each what is asked for under it.
    These(Vec<(Box<str>, Wanted)>),
}

static ALL: Wanted = Wanted::All;
static NONE: Wanted = Wanted::These(Vec::new());

impl Wanted {
    /// Those of these names, or under these dotted paths, alone.
    pub(in crate::management) fn these<'n>(paths: impl IntoIterator<Item = &'n str>) -> Wanted {
        let mut wanted = NONE.clone();
        paths.into_iter().for_each(|path| wanted.add(path));
        wanted
    }

    fn add(&mut self, path: &str) {
        let Wanted::These(fields) = self else { return };
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let place = fields.iter().position(|(other, _)| **other == *name).unwrap_or_else(|| {
            fields.push((name.into(), NONE.clone()));
            fields.len() - 1
        });
        match rest {
            Some(rest) => fields[place].1.add(rest),
            None => fields[place].1 = Wanted::All,
        }
    }

    /// Whether a field is wanted, or something under it.
    pub(in crate::management) fn has(&self, name: &str) -> bool {
        match self {
            Wanted::All => true,
            Wanted::These(fields) => fields.iter().any(|(field, _)| **field == *name),
        }
    }

    /// Whether `…_details` of a figure is wanted.
    pub(in crate::management) fn has_details(&self, name: &str) -> bool {
        match self {
            Wanted::All => true,
            Wanted::These(fields) => {
                fields.iter().any(|(field, _)| field.strip_suffix("_details") == Some(name))
            }
        }
    }

    /// What is wanted of the object that is a field's value.
    pub(in crate::management) fn under(&self, name: &str) -> &Wanted {
        match self {
            Wanted::All => &ALL,
            Wanted::These(fields) => {
                fields.iter().find(|(field, _)| **field == *name).map_or(&NONE, |(_, under)| under)
            }
        }
    }

    /// Of these fields, those that are wanted.
    pub(in crate::management) fn among(&self, names: &[&str]) -> Wanted {
        match self {
            Wanted::All => Wanted::these(names.iter().copied()),
            Wanted::These(fields) => {
                let is_among = |(field, _): &&(Box<str>, Wanted)| names.contains(&&**field);
                Wanted::These(fields.iter().filter(is_among).cloned().collect())
            }
        }
    }

    /// Whether any field is wanted that is not among these.
    pub(in crate::management) fn has_more_than(&self, names: &[&str]) -> bool {
        match self {
            Wanted::All => true,
            Wanted::These(fields) => fields.iter().any(|(field, _)| !names.contains(&&**field)),
        }
    }
}

/// An object that is being made.
#[derive(Debug)]
pub(in crate::management) struct Fields<'w> {
    wanted: &'w Wanted,
    fields: Map<String, Value>,
}

impl<'w> Fields<'w> {
    pub(in crate::management) fn new(wanted: &'w Wanted) -> Self {
        Self { wanted, fields: Map::new() }
    }

    /// Adds a field if it is wanted; its value is only made then.
    pub(in crate::management) fn put<V: Into<Value>>(&mut self, name: &str, value: impl FnOnce() -> V) {
        if self.wanted.has(name) {
            self.fields.insert(name.to_owned(), value().into());
        }
    }

    /// Adds a figure and its details, as far as they are wanted.
    pub(in crate::management) fn put_figure(
        &mut self,
        name: &str,
        figure: u64,
        details: impl FnOnce() -> Value,
    ) {
        self.put(name, || figure);
        // Its name is only made where it is wanted: long lists are sorted by one field of many.
        if self.wanted.has_details(name) {
            self.fields.insert(format!("{name}_details"), details());
        }
    }

    /// What is wanted.
    pub(in crate::management) fn wanted(&self) -> &'w Wanted {
        self.wanted
    }

    /// The object's fields.
    pub(in crate::management) fn into_map(self) -> Map<String, Value> {
        self.fields
    }

    /// The object.
    pub(in crate::management) fn into_value(self) -> Value {
        Value::Object(self.fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_fields_that_are_wanted_are_made() {
        let wanted = Wanted::these(["a", "c.x", "d"]).among(&["a", "b", "c"]);
        let mut fields = Fields::new(&wanted);
        fields.put("a", || 1);
        fields.put("b", || -> u64 { unreachable!("nobody wants it") });
        fields.put("c", || json!({"x": 3}));
        fields.put("d", || -> u64 { unreachable!("it is not among those that there are") });
        assert_eq!(fields.into_value(), json!({"a": 1, "c": {"x": 3}}));
        assert!(Wanted::All.has("anything"));
    }

    #[test]
    fn what_is_wanted_of_an_inner_object_is_known() {
        let wanted = Wanted::these(["a.b.c", "a.d", "e"]);
        assert_eq!(*wanted.under("a"), Wanted::these(["b.c", "d"]));
        assert_eq!(*wanted.under("e"), Wanted::All);
        assert_eq!(*wanted.under("z"), Wanted::these([]));
        assert_eq!(*Wanted::All.under("a"), Wanted::All);
        assert_eq!(Wanted::these(["a.b", "a", "a.c"]), Wanted::these(["a"]), "all of it is more than a part");
        let details = Wanted::these(["a_details.rate"]);
        assert_eq!(
            (details.has_details("a"), details.has_details("a_details"), details.has("a")),
            (true, false, false)
        );
        assert_eq!((wanted.has_more_than(&["a"]), wanted.has_more_than(&["a", "e"])), (true, false));
    }
}
