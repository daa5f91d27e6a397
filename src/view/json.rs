//! A graph as JSON: the form in which it is saved, with line breaks for people.

use super::text::clean_json;
use crate::compile::Graph;

/// The whole graph; reading it back gives the same graph.
///
/// # Errors
/// None that is known: every part of a graph has a form in JSON.
pub fn json(graph: &Graph) -> Result<String, serde_json::Error> {
    let mut json = clean_json(serde_json::to_string_pretty(graph)?);
    json.push('\n');
    Ok(json)
}

#[cfg(test)]
mod tests;
