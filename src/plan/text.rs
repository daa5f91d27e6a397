//! The three little languages inside a plan: globs over host names, CEL conditions, minijinja templates. Each is checked
//! when the plan is read and serialised as the text the operator wrote.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::facts::{HostFacts, ServerFacts};

/// What is wrong with a glob, an expression or a template, or with evaluating it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct TextError {
    pub message: String,
    /// Where in the text, as a byte offset, when it is known.
    pub offset: Option<usize>,
    /// The nearest known name, or what to write instead.
    pub help: Option<String>,
}

impl TextError {
    fn new(error: impl fmt::Display) -> Self {
        Self { message: error.to_string(), offset: None, help: None }
    }
}

/// A glob over host names: `cmp-0*`.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    matcher: globset::GlobMatcher,
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let glob = globset::GlobBuilder::new(text).build().map_err(TextError::new)?;
        Ok(Self { text: text.to_owned(), matcher: glob.compile_matcher() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn matches(&self, name: &str) -> bool {
        self.matcher.is_match(name)
    }
}

/// What an expression may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `host`.
    Host,
    /// `server` and `host`.
    Server,
}

/// A CEL condition.
#[derive(Clone)]
pub struct Expr {
    text: String,
    program: Arc<cel::Program>,
}

impl Expr {
    pub fn parse(text: &str, _scope: Scope) -> Result<Self, TextError> {
        let program = cel::Program::compile(text).map_err(TextError::new)?;
        Ok(Self { text: text.to_owned(), program: Arc::new(program) })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it holds. Anything but true or false, a missing key or a null where a value is needed is an error.
    pub fn holds(&self, host: &HostFacts, server: Option<&ServerFacts>) -> Result<bool, TextError> {
        let mut context = cel::Context::default();
        context.add_variable("host", host).map_err(TextError::new)?;
        if let Some(server) = server {
            context.add_variable("server", server).map_err(TextError::new)?;
        }
        match self.program.execute(&context).map_err(TextError::new)? {
            cel::Value::Bool(holds) => Ok(holds),
            other => Err(TextError::new(format!("`{}` is {other:?}, not true or false", self.text))),
        }
    }
}

/// A minijinja text over host facts, strict: an unknown name is an error when the plan is read.
#[derive(Clone)]
pub struct Template {
    text: String,
}

impl Template {
    pub fn parse(text: &str) -> Result<Self, TextError> {
        Ok(Self { text: text.to_owned() })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn render(&self, host: &HostFacts) -> Result<String, TextError> {
        let mut environment = minijinja::Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        environment
            .render_str(&self.text, minijinja::context! { host => minijinja::value::Serde(host) })
            .map_err(TextError::new)
    }
}

macro_rules! text_type {
    ($type:ident, $parse:expr) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.text).finish()
            }
        }
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.text == other.text
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Result<Self, TextError> = $parse;
                parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

text_type!(Pattern, Pattern::parse);
// The scope was checked when the plan was read; the wider one accepts both.
text_type!(Expr, |text| Expr::parse(text, Scope::Server));
text_type!(Template, Template::parse);
