//! The promise about secrets.

use super::story::Found;
use super::{Story, Violation};

/// 14. "No credential in a journal, log, report, error or process argument." The planted texts are looked for in every
///     event, which is all that a journal, a screen and a report are made of.
pub(super) fn nowhere(story: &Story<'_>) -> Vec<Violation> {
    let mut found = Found::of(14);
    if story.secrets.is_empty() {
        return found.list;
    }
    let at_ms = story.seen.last().map_or(0, |seen| seen.at_ms);
    for event in story.events {
        // What cannot be written as JSON is not in a journal either.
        let Ok(text) = serde_json::to_string(event) else { continue };
        if let Some(secret) = story.secrets.iter().find(|secret| text.contains(secret.as_str())) {
            let about = event.kind.step().map_or("the run", |step| step.0.as_str());
            found.say(at_ms, format!("event {} of {about} holds the planted {secret}", event.seq));
        }
    }
    found.list
}
