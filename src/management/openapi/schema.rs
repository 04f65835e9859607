//! What JSON objects look like: the tables of this folder are made of these, and so are the schemas in the document. PURE.

use crate::management::view::stats::Figure;
use utoipa::openapi::schema::{AdditionalProperties, SchemaType, Type};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder};
use utoipa::openapi::{Ref, RefOr, Schema};

/// A kind of value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Text,
    /// A text that is a whole number, 0 or more.
    Digits,
    Flag,
    /// A whole number, 0 or more.
    Count,
    /// A whole number.
    Whole,
    Number,
    Any,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    List(&'static Kind),
    /// A list without items: RabbitMQ writes an object without fields so.
    EmptyList,
    /// An object whose names are not known before; all values of a kind.
    Map(&'static Kind),
    Object(&'static Object),
    /// Or null.
    Maybe(&'static Kind),
    /// Any of these kinds.
    Either(&'static [Kind]),
}

/// A field of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// What it means; empty where the name says it.
    pub(super) about: &'static str,
    /// Whether every such object has it.
    pub(super) is_required: bool,
}

/// An object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) fields: &'static [Field],
    /// Counts that have `…_details` beside them; of each of these groups all are there or none.
    pub(super) figures: &'static [&'static [Figure]],
}

/// A field that is always there.
pub(super) const fn always(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, about, is_required: true }
}

/// A field that may be missing.
pub(super) const fn sometimes(name: &'static str, kind: Kind, about: &'static str) -> Field {
    Field { name, kind, about, is_required: false }
}

/// An object of these fields.
pub(super) const fn object(name: &'static str, about: &'static str, fields: &'static [Field]) -> Object {
    Object { name, about, fields, figures: &[] }
}

/// Where an object stands, which says what is known of its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a body: fields that are not named are passed over.
    Body,
    /// In an answer: there are no other fields.
    Answer,
    /// The same, where the request may ask for some of the fields only.
    Columns,
}

impl Object {
    /// The same with figures.
    pub(super) const fn with(self, figures: &'static [&'static [Figure]]) -> Object {
        Object { figures, ..self }
    }

    pub(super) fn schema(&self, place: Place) -> Schema {
        let mut object = ObjectBuilder::new().schema_type(Type::Object).description(described(self.about));
        for field in self.fields {
            object = object.property(field.name, describe(field.kind.schema(), field.about));
            if field.is_required && place != Place::Columns {
                object = object.required(field.name);
            }
        }
        for (name, _) in self.figures.iter().copied().flatten() {
            object = object.property(*name, Kind::Count.schema());
            let details = Ref::from_schema_name(super::answers::DETAILS.name);
            object = object.property(format!("{name}_details"), details);
        }
        if place != Place::Body {
            object = object.additional_properties(Some(AdditionalProperties::FreeForm(false)));
        }
        object.into()
    }

    /// The objects that stand in its fields.
    pub(super) fn inner(&self) -> Vec<&'static Object> {
        let mut inner: Vec<_> = self.fields.iter().flat_map(|field| field.kind.objects()).collect();
        if !self.figures.is_empty() {
            inner.push(&super::answers::DETAILS);
        }
        inner
    }
}

/// The text, unless it is empty.
pub(super) fn described(about: &str) -> Option<&str> {
    Some(about).filter(|about| !about.is_empty())
}

/// Says what a value means. A reference says nothing of its own: its object does.
pub(super) fn describe(schema: RefOr<Schema>, about: &str) -> RefOr<Schema> {
    let about = described(about).map(str::to_owned);
    match schema {
        RefOr::T(Schema::Object(object)) => {
            RefOr::T(ObjectBuilder::from(object).description(about).build().into())
        }
        RefOr::T(Schema::Array(array)) => {
            RefOr::T(ArrayBuilder::from(array).description(about).build().into())
        }
        RefOr::T(Schema::AnyOf(any)) => RefOr::T(AnyOfBuilder::from(any).description(about).build().into()),
        schema => schema,
    }
}

impl Kind {
    /// Its schema; objects are referred to.
    pub(super) fn schema(self) -> RefOr<Schema> {
        let plain = |kind: Type| ObjectBuilder::new().schema_type(kind);
        RefOr::T(match self {
            Kind::Text => plain(Type::String).into(),
            Kind::Digits => plain(Type::String).pattern(Some("^\\+?[0-9]+$")).into(),
            Kind::Flag => plain(Type::Boolean).into(),
            Kind::Count => plain(Type::Integer).minimum(Some(0)).into(),
            Kind::Whole => plain(Type::Integer).into(),
            Kind::Number => plain(Type::Number).into(),
            Kind::Any => ObjectBuilder::new().schema_type(SchemaType::AnyValue).into(),
            Kind::OneOf(texts) => plain(Type::String).enum_values(Some(texts.iter().copied())).into(),
            Kind::List(kind) => ArrayBuilder::new().items(kind.schema()).into(),
            Kind::EmptyList => ArrayBuilder::new().items(Kind::Any.schema()).max_items(Some(0)).into(),
            Kind::Map(Kind::Any) => {
                plain(Type::Object).additional_properties(Some(AdditionalProperties::FreeForm(true))).into()
            }
            Kind::Map(kind) => plain(Type::Object).additional_properties(Some(kind.schema())).into(),
            Kind::Object(object) => return Ref::from_schema_name(object.name).into(),
            Kind::Maybe(kind) => {
                AnyOfBuilder::new().item(kind.schema()).item(plain(Type::Null).build()).into()
            }
            Kind::Either(kinds) => {
                kinds.iter().fold(AnyOfBuilder::new(), |any, kind| any.item(kind.schema())).into()
            }
        })
    }

    /// The objects that it is made of.
    pub(super) fn objects(self) -> Vec<&'static Object> {
        match self {
            Kind::Object(object) => vec![object],
            Kind::List(kind) | Kind::Map(kind) | Kind::Maybe(kind) => kind.objects(),
            Kind::Either(kinds) => kinds.iter().flat_map(|kind| kind.objects()).collect(),
            _ => Vec::new(),
        }
    }
}
