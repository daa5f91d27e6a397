//! Single values of a plan: durations, counts, text that is text, the nearest known name.

use super::Count;
use super::shape::{DURATION_MAX_S, WHOLE_MAX};

/// How alike two names have to be for one to be offered for the other: `max_host` and `max_hosts` are, `run` and
/// `wait` are not.
const LIKENESS_MIN: f64 = 0.6;

/// The units of a duration, largest first, in seconds.
const UNITS: [(char, u64); 4] = [('d', 24 * 3600), ('h', 3600), ('m', 60), ('s', 1)];

/// What [`duration`] reads, for the JSON Schema.
pub(super) const DURATION_PATTERN: &str = "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$";

/// What [`percent`] reads, for the JSON Schema.
pub(super) const PERCENT_PATTERN: &str = "^([1-9][0-9]?|100)%$";

/// `90s`, `1h30m`: whole numbers with units from the largest to the smallest.
pub(super) fn duration(text: &str, min_s: u64) -> Result<u64, String> {
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit = tail.chars().next().ok_or("a number without a unit")?;
        let (_, seconds) = units
            .find(|(name, _)| *name == unit)
            .ok_or_else(|| format!("`{unit}` is not one of the units d, h, m, s, or not in this order"))?;
        let number: u64 = number.parse().map_err(|_| format!("a whole number is missing before `{unit}`"))?;
        total = number.checked_mul(*seconds).and_then(|part| total.checked_add(part)).ok_or("it is too long")?;
        rest = tail.get(unit.len_utf8()..).unwrap_or_default();
    }
    match total {
        _ if text.is_empty() => Err("it is empty".to_owned()),
        total if total < min_s => Err(format!("the least is {min_s}s")),
        total if total > DURATION_MAX_S => Err(format!("the most is {}d", DURATION_MAX_S / (24 * 3600))),
        total => Ok(total),
    }
}

/// `25%`.
pub(super) fn percent(text: &str) -> Result<Count, String> {
    let number = text.strip_suffix('%').ok_or("the sign % is missing")?;
    match number.parse::<u32>() {
        Ok(share @ 1..=100) if number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0') => {
            Ok(Count::Percent(share))
        }
        _ => Err("a share is a whole number from 1% to 100%".to_owned()),
    }
}

/// A whole number within bounds.
pub(super) fn whole(number: &serde_yaml::Number, min: u32) -> Result<u32, String> {
    number
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| (min..=WHOLE_MAX).contains(number))
        .ok_or_else(|| format!("from {min} to {WHOLE_MAX}"))
}

/// Whether a text written without quotes is something else to one or the other reader of YAML 1.1 or 1.2: a number
/// (`011` is 9 there), a truth value (`yes`, `off`), a date, a time in sixties (`12:30`), nothing (`~`).
pub(super) fn is_ambiguous(plain: &str) -> bool {
    const WORDS: [&str; 12] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "", ".nan"];
    let lower = plain.to_ascii_lowercase();
    if WORDS.contains(&lower.as_str()) {
        return true;
    }
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(&lower);
    let based = |prefix: &str| {
        unsigned.strip_prefix(prefix).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    let numeric = unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && unsigned.bytes().any(|byte| byte.is_ascii_digit())
        && unsigned.bytes().all(|byte| byte.is_ascii_digit() || b"._:+-e".contains(&byte));
    numeric || based("0x") || based("0o") || unsigned == ".inf"
}

/// The known name that is most like `word`, if one is like it.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('-', "_");
    let word = plain(word);
    known
        .into_iter()
        .map(|name| (strsim::normalized_damerau_levenshtein(&word, &plain(name)), name))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// `a`, `b` or `c`.
pub(super) fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.pop() {
        Some(last) if quoted.is_empty() => last,
        Some(last) => format!("{} or {last}", quoted.join(", ")),
        None => String::new(),
    }
}
