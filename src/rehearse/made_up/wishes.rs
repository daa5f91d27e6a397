//! The hosts of a made-up cloud, such that what the plan names is there: names written out, names for its globs,
//! aggregates and zones.

use std::collections::BTreeSet;

use super::{Draft, HOSTS, Size, names};
use crate::plan::{HostSelector, Pattern, Plan};

/// Hosts in a rack at most: two of its forty-odd units each.
const RACK_HOSTS: usize = 20;
/// A cloud of fewer hosts has one zone.
const ZONES_FROM: usize = 8;
/// The zone of hosts in no zone's aggregate (`default_availability_zone`, nova/conf/availability_zone.py).
const DEFAULT_ZONE: &str = "nova";
/// Names written out in a message; the others are counted.
const TOLD_MAX: usize = 4;

/// As many hosts as were asked for, or as the plan names if those are more.
pub(super) fn hosts(size: Size, plan: Option<&Plan>, said: &mut Vec<String>) -> Vec<Draft> {
    let wanted = usize::try_from(size.hosts).unwrap_or(usize::MAX);
    let most = usize::try_from(*HOSTS.end()).unwrap_or(usize::MAX);
    let usual = |at: usize| format!("cmp-{at:02}");
    let mut all: BTreeSet<String> = BTreeSet::new();
    let selectors: Vec<(&HostSelector, bool)> = plan.map_or_else(Vec::new, |plan| {
        let selected = plan.hosts.iter().map(|entry| (entry, false));
        selected.chain(plan.exclude.iter().map(|entry| (entry, true))).collect()
    });
    for (entry, excluded) in &selectors {
        for pattern in &entry.name {
            let known = (1..=wanted).map(usual).any(|name| pattern.matches(&name));
            let is_glob = pattern.as_str().contains(['*', '?', '[', '{', '\\']);
            let made = match (is_glob, known) {
                (true, true) => continue,
                (true, false) => names::names(pattern, if *excluded { 1 } else { wanted.div_ceil(4) }),
                (false, _) => vec![pattern.as_str().to_owned()],
            };
            if !known && !made.is_empty() {
                said.push(format!("{}: `{}` names {}", entry.at, pattern.as_str(), told(&made)));
            }
            let room = most.saturating_sub(all.len());
            all.extend(made.into_iter().take(room));
        }
    }
    // One host more than the plan names, at the least: its servers have to go somewhere.
    let total = wanted.max(all.len() + 1).min(most);
    if total > wanted {
        said.push(format!("the plan names {} hosts, so there are {total} instead of {wanted}", all.len()));
    }
    let mut at = 1;
    while all.len() < total {
        all.insert(usual(at));
        at += 1;
    }
    let mut drafts = in_racks(all);
    for (entry, excluded) in selectors {
        if let Some(aggregate) = &entry.aggregate {
            place(&mut drafts, entry, excluded, aggregate, false, said);
        }
        if let Some(zone) = &entry.zone {
            place(&mut drafts, entry, excluded, zone, true, said);
        }
    }
    for draft in &mut drafts {
        if draft.zone != DEFAULT_ZONE && !draft.aggregates.contains(&draft.zone) {
            draft.aggregates.push(draft.zone.clone());
        }
        draft.aggregates.sort();
    }
    drafts
}

/// Four racks or more, neighbours by name together; half of the racks in each zone.
fn in_racks(names: BTreeSet<String>) -> Vec<Draft> {
    let of_rack = names.len().div_ceil(4).clamp(1, RACK_HOSTS);
    let racks = names.len().div_ceil(of_rack);
    let zoned = names.len() >= ZONES_FROM;
    names
        .into_iter()
        .enumerate()
        .map(|(at, name)| {
            let rack = at / of_rack;
            let zone = match (zoned, rack * 2 < racks) {
                (false, _) => DEFAULT_ZONE,
                (true, true) => "az1",
                (true, false) => "az2",
            };
            Draft { name, zone: zone.to_owned(), aggregates: vec![format!("rack-{}", letters(rack))] }
        })
        .collect()
}

/// `a` to `z`, then `aa`.
fn letters(mut number: usize) -> String {
    let mut text = String::new();
    loop {
        let letter = u8::try_from(number % 26).unwrap_or(0);
        text.insert(0, char::from(b'a' + letter));
        if number < 26 {
            return text;
        }
        number = number / 26 - 1;
    }
}

/// Puts hosts into the aggregate or zone that an entry names, unless a host that the entry matches is there already.
fn place(
    drafts: &mut [Draft],
    entry: &HostSelector,
    excluded: bool,
    name: &str,
    is_zone: bool,
    said: &mut Vec<String>,
) {
    let named = |draft: &Draft| {
        let by_name = entry.name.is_empty() || entry.name.iter().any(|pattern: &Pattern| pattern.matches(&draft.name));
        // The aggregate of the same entry was seen to before its zone.
        let by_aggregate = !is_zone || entry.aggregate.as_ref().is_none_or(|own| draft.aggregates.contains(own));
        by_name && by_aggregate
    };
    let is_there =
        |draft: &Draft| if is_zone { draft.zone == name } else { draft.aggregates.iter().any(|a| a == name) };
    let candidates: Vec<usize> = (0..drafts.len()).filter(|at| named(&drafts[*at])).collect();
    if candidates.iter().any(|at| is_there(&drafts[*at])) {
        return;
    }
    let free = entry.name.is_empty() && (!is_zone || entry.aggregate.is_none());
    let members: Vec<usize> = match (free, excluded) {
        (false, _) => candidates,
        // What is excluded is taken from the end, away from what is selected.
        (true, true) => candidates.last().copied().into_iter().collect(),
        (true, false) => {
            let some = candidates.len().div_ceil(4);
            candidates.into_iter().take(some).collect()
        }
    };
    for &at in &members {
        if is_zone {
            drafts[at].zone = name.to_owned();
        } else {
            drafts[at].aggregates.push(name.to_owned());
        }
    }
    let names: Vec<String> = members.iter().map(|at| drafts[*at].name.clone()).collect();
    let word = if is_zone { "zone" } else { "aggregate" };
    said.push(format!("{}: {word} `{name}` holds {}", entry.at, told(&names)));
}

/// `cmp-01, cmp-02 and 8 more`.
fn told(names: &[String]) -> String {
    let listed: Vec<&str> = names.iter().take(TOLD_MAX).map(String::as_str).collect();
    match names.len().saturating_sub(TOLD_MAX) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}
