//! The JSON Schema of the document as it is written, for editors: made from the table the reader works by.

use serde_json::{Map, Value, json};

use super::scalars::{DURATION_PATTERN, PERCENT_PATTERN};
use super::shape::{Field, Kind, PLAN, Rule, Shape, VERSION, WHOLE_MAX, Word};

/// The JSON Schema (2020-12) of a plan.
///
/// It knows every key, word and range; what only the reader can judge (conditions, templates, globs, the longest
/// duration, one value against another) it leaves to the reader.
pub fn schema() -> Value {
    let mut schema = mapping(&PLAN);
    if let Value::Object(members) = &mut schema {
        members.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        members.insert("title".to_owned(), json!("furlough maintenance plan"));
    }
    schema
}

fn mapping(shape: &Shape) -> Value {
    let properties: Map<String, Value> =
        shape.fields.iter().map(|field| (field.key.to_owned(), described(field))).collect();
    let required: Vec<&str> = shape.fields.iter().filter(|field| field.required).map(|field| field.key).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    if let Value::Object(members) = &mut schema {
        if !required.is_empty() {
            members.insert("required".to_owned(), json!(required));
        }
        if shape.rule != Rule::None {
            members.insert("minProperties".to_owned(), json!(1));
        }
        if shape.rule == Rule::ExactlyOne {
            members.insert("maxProperties".to_owned(), json!(1));
        }
    }
    schema
}

fn described(field: &Field) -> Value {
    let mut schema = kind(&field.kind);
    if let Value::Object(members) = &mut schema {
        let mut about = field.about.to_owned();
        if let Kind::Word { words, .. } | Kind::Words { words } = &field.kind {
            for word in usable(words) {
                about.push_str(&format!(" `{}`: {}.", word.word, word.about));
            }
        }
        members.insert("description".to_owned(), json!(about));
    }
    schema
}

fn kind(kind: &Kind) -> Value {
    match kind {
        Kind::Version => json!({"const": VERSION}),
        Kind::Text | Kind::Condition(_) => json!({"type": "string", "minLength": 1}),
        Kind::Patterns => {
            let glob = json!({"type": "string", "minLength": 1});
            json!({"anyOf": [glob, {"type": "array", "items": glob, "minItems": 1}]})
        }
        Kind::Duration { default_s, .. } => {
            json!({"type": "string", "pattern": DURATION_PATTERN, "default": duration_text(*default_s)})
        }
        Kind::Whole { min, default } => {
            with_default(json!({"type": "integer", "minimum": min, "maximum": WHOLE_MAX}), *default)
        }
        Kind::Count { default } => {
            let hosts = json!({"type": "integer", "minimum": 1, "maximum": WHOLE_MAX});
            let share = json!({"type": "string", "pattern": PERCENT_PATTERN});
            with_default(json!({"anyOf": [hosts, share]}), *default)
        }
        Kind::Word { words, default } => json!({"enum": names(words), "default": default}),
        Kind::Words { words } => {
            json!({"type": "array", "items": {"enum": names(words)}, "minItems": 1, "uniqueItems": true})
        }
        Kind::Templates => json!({"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}),
        Kind::Map(shape) => mapping(shape),
        Kind::List { of, may_be_empty } => {
            json!({"type": "array", "items": mapping(of), "minItems": u8::from(!may_be_empty)})
        }
    }
}

fn with_default(mut schema: Value, default: Option<u32>) -> Value {
    if let (Value::Object(members), Some(default)) = (&mut schema, default) {
        members.insert("default".to_owned(), json!(default));
    }
    schema
}

fn usable(words: &'static [Word]) -> impl Iterator<Item = &'static Word> {
    words.iter().filter(|word| word.instead.is_none())
}

fn names(words: &'static [Word]) -> Vec<&'static str> {
    usable(words).map(|word| word.word).collect()
}

fn duration_text(seconds: u64) -> String {
    if seconds > 0 && seconds.is_multiple_of(60) { format!("{}m", seconds / 60) } else { format!("{seconds}s") }
}
