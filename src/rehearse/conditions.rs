//! What goes wrong in a night, and how the cloud and the operator's machine behave otherwise: by name, or from a file.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::machine::CommandHabits;
use crate::cloud::sim::{Chances, Faults, Habits, Scripted};

/// More than this an hour is no night but noise, and would take hours of real time.
const PER_HOUR_MAX: f64 = 100_000.0;
/// Keys of the file's top level and of `chances` that a wrong one is compared with come from serde's own message; a name
/// at least this alike is worth suggesting (Jaro–Winkler, 0 to 1).
const ALIKE: f64 = 0.75;

/// The conditions of a night. A YAML file can be read into it: `chances`, `script`, `habits` and `commands`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    pub chances: Chances,
    pub script: Vec<Scripted>,
    pub habits: Habits,
    pub commands: CommandHabits,
}

/// A mistake in a file of conditions. Lines and columns count from 1; 0 where the file as a whole is meant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ConditionsError {
    pub line: usize,
    pub column: usize,
    /// What is wrong, beginning with the way to it: `chances.live_fials: …`.
    pub message: String,
    /// The nearest known key.
    pub help: Option<String>,
}

impl Conditions {
    /// Nothing goes wrong, and nobody else is at work.
    pub fn none() -> Self {
        Self::default()
    }

    /// A night as most are.
    pub fn typical() -> Self {
        let Faults { chances, script } = Faults::typical();
        let commands = CommandHabits { fails: 0.005, hangs: 0.000_5, ..CommandHabits::default() };
        Self { chances, script, commands, ..Self::default() }
    }

    /// A night in which everything that can go wrong does, somewhere.
    pub fn harsh() -> Self {
        let Faults { chances, script } = Faults::harsh();
        let commands = CommandHabits { fails: 0.05, hangs: 0.01, lost: 0.002, ..CommandHabits::default() };
        Self { chances, script, commands, ..Self::default() }
    }

    pub fn faults(&self) -> Faults {
        Faults { chances: self.chances, script: self.script.clone() }
    }

    /// Reads them from YAML.
    ///
    /// # Errors
    /// The first mistake, with its place: a key that is not known, a value of another type, a chance that is none.
    pub fn read(text: &str) -> Result<Self, ConditionsError> {
        if text.trim().is_empty() {
            let message = "the file is empty; for a night in which nothing goes wrong say --faults none".to_owned();
            return Err(ConditionsError { line: 0, column: 0, message, help: None });
        }
        let yaml = serde_yaml::Deserializer::from_str(text);
        let read: Self = serde_path_to_error::deserialize(yaml).map_err(|error| {
            let path = error.path().to_string();
            misread(&path, error.inner())
        })?;
        read.check(text)?;
        Ok(read)
    }

    fn check(&self, text: &str) -> Result<(), ConditionsError> {
        let wrong = |key: &str, path: String, why: &str| {
            let (line, column) = place_of(text, key);
            ConditionsError { line, column, message: format!("{path}: {why}"), help: None }
        };
        let chances = serde_json::to_value(self.chances).unwrap_or_default();
        let commands = [("fails", self.commands.fails), ("hangs", self.commands.hangs), ("lost", self.commands.lost)];
        let of_cloud = chances.as_object().into_iter().flatten();
        // JSON has no number for what is not finite.
        let of_cloud = of_cloud.map(|(key, value)| ("chances", key.as_str(), value.as_f64().unwrap_or(f64::NAN)));
        let of_machine = commands.map(|(key, chance)| ("commands", key, chance));
        for (section, key, value) in of_cloud.chain(of_machine) {
            let is_rate = key.ends_with("_per_hour");
            let (most, why) = match is_rate {
                true => (PER_HOUR_MAX, "a rate is 0 to 100000 an hour"),
                false => (1.0, "a chance is from 0 to 1"),
            };
            if !(0.0..=most).contains(&value) {
                return Err(wrong(key, format!("{section}.{key}"), why));
            }
        }
        let habits = serde_json::to_value(&self.habits).unwrap_or_default();
        let commands = serde_json::to_value(&self.commands).unwrap_or_default();
        for (section, values) in [("habits", habits), ("commands", commands)] {
            for (key, value) in values.as_object().into_iter().flatten() {
                if let Some([from, to]) = value.as_array().map(Vec::as_slice)
                    && from.as_u64() > to.as_u64()
                {
                    return Err(wrong(key, format!("{section}.{key}"), "the first of the two is the smaller one"));
                }
            }
        }
        Ok(())
    }
}

fn misread(path: &str, error: &serde_yaml::Error) -> ConditionsError {
    let (line, column) = error.location().map_or((0, 0), |place| (place.line(), place.column()));
    let mut text = error.to_string();
    // The path and the place are told apart from the message, in furlough's own way.
    if let Some(end) = text.rfind(" at line ") {
        text.truncate(end);
    }
    let text = text.strip_prefix(&format!("{path}: ")).unwrap_or(&text).to_owned();
    let Some((said, expected)) = text.split_once(", expected one of ") else {
        let message = if path == "." { text } else { format!("{path}: {text}") };
        return ConditionsError { line, column, message, help: None };
    };
    let wrong = said.split('`').nth(1).unwrap_or_default();
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    let alike = |name: &&str| strsim::jaro_winkler(wrong, name);
    let nearest = known.iter().copied().max_by(|one, other| alike(one).total_cmp(&alike(other)));
    let help = match nearest.filter(|name| alike(name) >= ALIKE) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known there: {}", known.join(", ")),
    };
    // The path to an unknown key ends with the key itself, which the message names again.
    let path = path.strip_suffix(wrong).map_or(path, |path| path.trim_end_matches('.'));
    // serde_yaml says a part of the path as well.
    let said = said.rsplit_once(": ").map_or(said, |(_, said)| said);
    let message = if path.is_empty() || path == "." { said.to_owned() } else { format!("{path}: {said}") };
    ConditionsError { line, column, message, help: Some(help) }
}

/// Where a key stands. The value was read well and is wrong by its meaning, so the key is there.
fn place_of(text: &str, key: &str) -> (usize, usize) {
    let at = |line: &str| {
        line.match_indices(key).map(|(at, _)| at).find(|at| {
            let bound = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
            bound(line[..*at].chars().next_back()) && bound(line[at + key.len()..].chars().next())
        })
    };
    text.lines().enumerate().find_map(|(number, line)| Some((number + 1, at(line)? + 1))).unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for conditions in [Conditions::none(), Conditions::typical(), Conditions::harsh()] {
            let text = serde_yaml::to_string(&conditions).unwrap();
            assert_eq!(Conditions::read(&text).unwrap(), conditions);
        }
        let text = "chances: {live_fails: 0.5}\nscript:\n  - {on: ask, ask: live, of: web-1, nth: 2, fate: stalls}\n  - {on: at, \
                    at_ms: 5000, happens: {what: compute_dies, host: cmp-01}}\nhabits: {boot_ms: [1, 2]}\ncommands: {took_s: \
                    [1, 1]}\n";
        let read = Conditions::read(text).unwrap();
        assert_eq!((read.script.len(), read.commands.took_s, read.habits.boot_ms), (2, [1, 1], [1, 2]));
    }

    #[test]
    fn chances_are_chances() {
        for wrong in ["-0.1", "1.01", ".nan", ".inf"] {
            let text = format!("chances:\n  stale: 0.1\n  live_stalls: {wrong}\n");
            let error = Conditions::read(&text).unwrap_err();
            assert_eq!((error.line, error.column), (3, 3), "{error:?}");
            assert!(error.message.starts_with("chances.live_stalls: "), "{error:?}");
        }
        assert_eq!(Conditions::read("chances: {others_per_hour: 200000}").unwrap_err().line, 1);
        assert!(Conditions::read("chances: {others_per_hour: 30}").is_ok());
    }
}
