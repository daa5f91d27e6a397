//! What may be said about a host and a server: derived from the types of `facts`, so that a fact added there is known to
//! conditions and templates, and a fact taken away is refused in both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::plan::facts::{HostFacts, ServerFacts};

/// The kind of a value in a condition.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Type {
    /// Not known before it is evaluated.
    Any,
    Null,
    Bool,
    Int,
    Double,
    Text,
    List(Box<Self>),
    /// Keys chosen by users: metadata, extra specs.
    Map(Box<Self>),
    Record(&'static Record),
}

/// A value with fixed members.
#[derive(Debug, PartialEq)]
pub(super) struct Record {
    /// How it is written: `host.service`.
    pub(super) path: String,
    pub(super) members: BTreeMap<String, Member>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Member {
    pub(super) kind: Kind,
    /// Null where the cloud does not show it.
    pub(super) nullable: bool,
}

/// As [`Type`], but owning its records.
#[derive(Debug, PartialEq)]
pub(super) enum Kind {
    Plain(Type),
    Record(Record),
}

static HOST: LazyLock<Record> = LazyLock::new(|| record_of::<HostFacts>("host"));
static SERVER: LazyLock<Record> = LazyLock::new(|| record_of::<ServerFacts>("server"));

pub(super) fn host() -> &'static Record {
    &HOST
}

pub(super) fn server() -> &'static Record {
    &SERVER
}

impl Member {
    pub(super) fn type_of(&'static self) -> Type {
        match &self.kind {
            Kind::Plain(plain) => plain.clone(),
            Kind::Record(record) => Type::Record(record),
        }
    }
}

impl Record {
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.keys().map(String::as_str)
    }

    /// Every path below this record that ends in `name`: `host.service.state`.
    pub(super) fn paths_to(&self, name: &str) -> Vec<String> {
        let own = self.members.contains_key(name).then(|| format!("{}.{name}", self.path));
        let below = self.members.values().filter_map(|member| match &member.kind {
            Kind::Record(record) => Some(record.paths_to(name)),
            Kind::Plain(_) => None,
        });
        own.into_iter().chain(below.flatten()).collect()
    }
}

impl Type {
    /// What it is, in a sentence.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Any => "a value",
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int => "a whole number",
            Self::Double => "a number with a fraction",
            Self::Text => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
            Self::Record(_) => "a group of facts",
        }
    }
}

fn record_of<T: JsonSchema>(path: &str) -> Record {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    record(path, schema.as_value())
}

fn record(path: &str, schema: &Value) -> Record {
    let properties = schema.get("properties").and_then(Value::as_object);
    let members = properties.into_iter().flatten().map(|(name, schema)| {
        let kind = kind(&format!("{path}.{name}"), schema);
        (name.clone(), Member { kind, nullable: types(schema).any(|name| name == "null") })
    });
    Record { path: path.to_owned(), members: members.collect() }
}

/// The `type` of a schema, which is one name or a list of them.
fn types(schema: &Value) -> impl Iterator<Item = &str> {
    let declared = schema.get("type");
    let single = declared.and_then(Value::as_str);
    let several = declared.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    single.into_iter().chain(several)
}

fn kind(path: &str, schema: &Value) -> Kind {
    let element = |key: &str| match schema.get(key).map(|schema| kind(path, schema)) {
        Some(Kind::Plain(plain)) => Box::new(plain),
        _ => Box::new(Type::Any),
    };
    Kind::Plain(match types(schema).find(|name| *name != "null") {
        Some("boolean") => Type::Bool,
        Some("integer") => Type::Int,
        Some("number") => Type::Double,
        Some("string") => Type::Text,
        Some("array") => Type::List(element("items")),
        Some("object") if schema.get("properties").is_some() => return Kind::Record(record(path, schema)),
        Some("object") => Type::Map(element("additionalProperties")),
        _ => Type::Any,
    })
}
