//! The three little languages inside a plan: globs over host names, CEL conditions, minijinja templates. Each is checked
//! when the plan is read and serialised as the text the operator wrote.

mod check;
mod expr;
mod members;
mod pattern;
mod template;
mod vocabulary;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

pub use expr::{Expr, Facts};
pub use pattern::Pattern;
pub use template::Template;

/// The longest condition or template. A list of fifty project ids fits; the parsers behind them recurse, so that they
/// must not be given any length.
const TEXT_BYTES_MAX: usize = 4096;

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

    fn at(mut self, offset: usize) -> Self {
        self.offset = Some(offset);
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

fn bounded(text: &str) -> Result<(), TextError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(TextError::new(format!("it may have {TEXT_BYTES_MAX} bytes, this has {}", text.len())));
    }
    Ok(())
}

/// What an expression may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `host`.
    Host,
    /// `server` and `host`.
    Server,
}

macro_rules! text_type {
    ($type:ident, $parse:expr) => {
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($type)).field(&self.as_str()).finish()
            }
        }
        impl PartialEq for $type {
            fn eq(&self, other: &Self) -> bool {
                self.as_str() == other.as_str()
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
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

#[cfg(test)]
mod tests;
