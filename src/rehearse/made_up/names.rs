//! Names that a glob matches, in the manner of an operator: numbers where it has a star, each character of a class, each
//! alternative.

use crate::plan::Pattern;

/// Names tried for one glob. A glob of classes alone has few names; one that still finds none is too strange to guess.
const TRIES: u64 = 10_000;

/// A piece of a glob.
#[derive(Debug)]
enum Piece {
    Text(char),
    /// One of these characters.
    One(Vec<char>),
    Many,
    /// One of these texts, pieces in turn.
    Either(Vec<Vec<Self>>),
}

/// Up to `count` different names that this glob matches, the same ones every time.
pub(super) fn names(pattern: &Pattern, count: usize) -> Vec<String> {
    let mut characters: Vec<char> = pattern.as_str().chars().rev().collect();
    let pieces = pieces(&mut characters, false);
    let mut found: Vec<String> = Vec::new();
    for number in 0..TRIES {
        if found.len() >= count {
            break;
        }
        let mut name = String::new();
        let mut left = number;
        write(&pieces, &mut left, &mut name);
        if !name.is_empty() && pattern.matches(&name) && !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// `characters` stand in reverse. Within braces, stops at a comma or at the closing one.
fn pieces(characters: &mut Vec<char>, braced: bool) -> Vec<Piece> {
    let mut pieces = Vec::new();
    while let Some(character) = characters.pop() {
        match character {
            ',' | '}' if braced => {
                characters.push(character);
                break;
            }
            '*' => {
                if !matches!(pieces.last(), Some(Piece::Many)) {
                    pieces.push(Piece::Many);
                }
            }
            '?' => pieces.push(Piece::One(('0'..='9').collect())),
            '[' => pieces.push(Piece::One(class(characters))),
            '{' => {
                let mut texts = Vec::new();
                loop {
                    texts.push(self::pieces(characters, true));
                    if characters.pop() != Some(',') {
                        break;
                    }
                }
                pieces.push(Piece::Either(texts));
            }
            '\\' => pieces.extend(characters.pop().map(Piece::Text)),
            other => pieces.push(Piece::Text(other)),
        }
    }
    pieces
}

/// The characters of a class, up to its closing bracket; of a negated one, those letters and digits it leaves.
fn class(characters: &mut Vec<char>) -> Vec<char> {
    let negated = matches!(characters.last(), Some('!' | '^'));
    if negated {
        characters.pop();
    }
    let mut members: Vec<char> = Vec::new();
    let mut first = true;
    while let Some(character) = characters.pop() {
        if character == ']' && !first {
            break;
        }
        first = false;
        let range = characters.last() == Some(&'-') && characters.iter().nth_back(1).is_some_and(|end| *end != ']');
        if range {
            characters.pop();
            let end = characters.pop().unwrap_or(character);
            // A class of a whole script need not be walked through.
            members.extend((character..=end).take(64));
        } else {
            members.push(character);
        }
    }
    if negated { ('0'..='9').chain('a'..='z').filter(|letter| !members.contains(letter)).collect() } else { members }
}

/// Writes the `number`-th name: `number` is read digit by digit, each choice taking one of its own base, and a star
/// takes the rest.
fn write(pieces: &[Piece], number: &mut u64, name: &mut String) {
    let mut choose = |choices: usize| {
        let base = u64::try_from(choices).unwrap_or(1).max(1);
        let choice = *number % base;
        *number /= base;
        usize::try_from(choice).unwrap_or(0)
    };
    // Choices first, so that a star before them does not swallow what they are to count.
    let chosen: Vec<usize> = pieces
        .iter()
        .map(|piece| match piece {
            Piece::One(members) => choose(members.len()),
            Piece::Either(texts) => choose(texts.len()),
            Piece::Text(_) | Piece::Many => 0,
        })
        .collect();
    for (piece, chosen) in pieces.iter().zip(chosen) {
        match piece {
            Piece::Text(character) => name.push(*character),
            Piece::One(members) => name.extend(members.get(chosen)),
            Piece::Either(texts) => {
                if let Some(text) = texts.get(chosen) {
                    write(text, number, name);
                }
            }
            Piece::Many => {
                name.push_str(&format!("{:02}", std::mem::take(number).saturating_add(1)));
            }
        }
    }
}
