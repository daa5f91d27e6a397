//! The servers of a made-up cloud: sizes, states, disks and groups in about the shares that private clouds show.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Dice, Draft};
use crate::cloud::{Flavor, GroupPolicy, PowerState, Server, ServerGroup, ServerStatus};
use crate::plan::Plan;

/// Name, vCPUs, memory in MiB, root disk in GiB, and how many of a hundred servers have it.
const FLAVORS: [(&str, u64, u64, u64, u64); 7] = [
    ("m1.small", 1, 2_048, 20, 30),
    ("m1.medium", 2, 4_096, 40, 28),
    ("m1.large", 4, 8_192, 80, 20),
    ("m1.xlarge", 8, 16_384, 160, 10),
    ("r1.large", 4, 32_768, 40, 6),
    ("r1.xlarge", 8, 65_536, 40, 2),
    // Its vCPUs are pinned, which rules out live migration before Train.
    ("c1.large", 4, 8_192, 40, 4),
];
const PINNED: &str = "c1.large";

const ROLES: [&str; 8] = ["web", "app", "db", "cache", "queue", "build", "mail", "vpn"];

const SHUTOFF_PERCENT: u64 = 8;
const PAUSED_PERCENT: u64 = 1;
const LOCKED_PERCENT: u64 = 2;
const BOOT_FROM_VOLUME_PERCENT: u64 = 40;
const DATA_VOLUME_PERCENT: u64 = 20;
const CONFIG_DRIVE_PERCENT: u64 = 5;
/// Of the servers that may, those that chose their zone when they were made.
const PINNED_ZONE_PERCENT: u64 = 10;
/// A group of a pinned zone's hosts smaller than this could be one wave.
const PIN_FROM_HOSTS: usize = 8;
/// One server in so many has what a rule of the plan asks for.
const WISHED: u64 = 20;
/// Servers to a project and to a group.
const PROJECT_SERVERS: usize = 12;
const GROUP_EVERY: usize = 40;
const GROUP_SERVERS: usize = 3;
/// In a smaller cloud a hard group could leave its members no host.
const HARD_GROUPS_FROM_HOSTS: usize = 12;
const AGE_DAYS: u64 = 900;

pub(super) struct Drawn {
    pub servers: Vec<Server>,
    pub groups: Vec<ServerGroup>,
}

pub(super) fn servers(
    drafts: &[Draft],
    per_host: u32,
    read_at: Timestamp,
    plan: Option<&Plan>,
    dice: &mut Dice,
    said: &mut Vec<String>,
) -> Drawn {
    let wished = wished(plan);
    let mut numbers: BTreeMap<&str, u32> = BTreeMap::new();
    let mut zone_hosts: BTreeMap<&str, usize> = BTreeMap::new();
    for draft in drafts {
        *zone_hosts.entry(&draft.zone).or_default() += 1;
    }
    let mut servers: Vec<Server> = Vec::new();
    let (mut project, mut image) = (String::new(), String::new());
    let per_host = u64::from(per_host);
    let mut more = 0;
    for (at, draft) in drafts.iter().enumerate() {
        // What one host has more than the average its neighbour has less.
        let own = if at % 2 == 0 {
            more = dice.below(per_host / 4 + 1);
            if at + 1 == drafts.len() { per_host } else { per_host + more }
        } else {
            per_host - more
        };
        for _ in 0..own {
            if servers.len().is_multiple_of(PROJECT_SERVERS) {
                (project, image) = (dice.uuid().replace('-', ""), dice.uuid());
            }
            let role = ROLES[usize::try_from(dice.below(ROLES.len() as u64)).unwrap_or(0)];
            let number = numbers.entry(role).or_default();
            *number += 1;
            let name = format!("{role}-{number:02}");
            let may_pin = zone_hosts.get(draft.zone.as_str()).is_some_and(|hosts| *hosts >= PIN_FROM_HOSTS);
            servers.push(server(name, draft, &project, &image, may_pin, read_at, dice));
        }
    }
    for wish in &wished {
        let mut given = 0_usize;
        for server in &mut servers {
            if dice.below(WISHED) == 0 {
                wish.grant(server);
                given += 1;
            }
        }
        if given > 0 {
            said.push(format!("{}, which the plan asks for, is on {given} of its servers", wish.words()));
        }
    }
    let groups = groups(&servers, drafts.len(), dice);
    Drawn { servers, groups }
}

fn flavor(dice: &mut Dice) -> Flavor {
    let mut roll = dice.below(FLAVORS.iter().map(|flavor| flavor.4).sum());
    let mut chosen = FLAVORS[0];
    for flavor in FLAVORS {
        if roll < flavor.4 {
            chosen = flavor;
            break;
        }
        roll -= flavor.4;
    }
    let (name, vcpus, memory_mib, root_gib, _) = chosen;
    let pinned = (name == PINNED).then(|| ("hw:cpu_policy".to_owned(), "dedicated".to_owned()));
    Flavor {
        name: name.to_owned(),
        vcpus,
        memory_mib,
        root_gib,
        ephemeral_gib: 0,
        swap_mib: 0,
        extra_specs: pinned.into_iter().collect(),
        known: true,
    }
}

fn server(
    name: String,
    draft: &Draft,
    project: &str,
    image: &str,
    may_pin: bool,
    read_at: Timestamp,
    dice: &mut Dice,
) -> Server {
    let (status, vm_state, power_state) = match dice.below(100) {
        roll if roll < SHUTOFF_PERCENT => (ServerStatus::Shutoff, "stopped", PowerState::Shutdown),
        roll if roll < SHUTOFF_PERCENT + PAUSED_PERCENT => (ServerStatus::Paused, "paused", PowerState::Paused),
        _ => (ServerStatus::Active, "active", PowerState::Running),
    };
    let from_volume = dice.percent(BOOT_FROM_VOLUME_PERCENT);
    let volumes = u64::from(from_volume) + u64::from(dice.percent(DATA_VOLUME_PERCENT));
    let age_s = dice.below(AGE_DAYS * 86_400);
    let changed_s = dice.below(age_s + 1);
    let ago = |seconds: u64| read_at - SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(0));
    Server {
        id: dice.uuid(),
        name,
        project_id: project.to_owned(),
        status,
        vm_state: vm_state.to_owned(),
        task_state: None,
        power_state,
        host: Some(draft.name.clone()),
        zone: Some(draft.zone.clone()),
        pinned_zone: (may_pin && dice.percent(PINNED_ZONE_PERCENT)).then(|| draft.zone.clone()),
        flavor: flavor(dice),
        image: (!from_volume).then(|| image.to_owned()),
        image_properties: Some(BTreeMap::new()),
        metadata: BTreeMap::new(),
        tags: Vec::new(),
        locked: Some(dice.percent(LOCKED_PERCENT)),
        config_drive: dice.percent(CONFIG_DRIVE_PERCENT),
        volumes: (0..volumes).map(|_| dice.uuid()).collect(),
        fault: None,
        created_at: Some(ago(age_s)),
        updated_at: Some(ago(changed_s)),
    }
}

/// Groups of servers on different hosts (hard and soft anti-affinity) and, softly, on the same one. Hard affinity leaves
/// its members no other host at all, so no made-up cloud has it.
fn groups(servers: &[Server], hosts: usize, dice: &mut Dice) -> Vec<ServerGroup> {
    let mut groups = Vec::new();
    let mut grouped: BTreeSet<&str> = BTreeSet::new();
    for number in 0..servers.len() / GROUP_EVERY {
        let policy = match number % 3 {
            0 if hosts >= HARD_GROUPS_FROM_HOSTS => GroupPolicy::AntiAffinity,
            1 => GroupPolicy::SoftAffinity,
            _ => GroupPolicy::SoftAntiAffinity,
        };
        let together = policy == GroupPolicy::SoftAffinity;
        let first = usize::try_from(dice.below(servers.len() as u64)).unwrap_or(0);
        let mut on: Vec<&str> = Vec::new();
        let mut members = Vec::new();
        for server in servers[first..].iter().filter(|server| !grouped.contains(server.id.as_str())) {
            let host = server.host.as_deref().unwrap_or_default();
            if members.is_empty() || (on.contains(&host) == together) {
                on.push(host);
                members.push(server.id.as_str());
            }
            if members.len() == GROUP_SERVERS {
                break;
            }
        }
        if members.len() == GROUP_SERVERS {
            grouped.extend(&members);
            groups.push(ServerGroup {
                id: dice.uuid(),
                name: format!("group-{:02}", number + 1),
                policy,
                max_server_per_host: 1,
                members: members.into_iter().map(str::to_owned).collect(),
            });
        }
    }
    groups
}

/// Something that a rule's condition compares with, written out in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    Metadata { key: String, value: String },
    Tag(String),
}

impl Wish {
    fn grant(&self, server: &mut Server) {
        match self {
            Self::Metadata { key, value } => {
                server.metadata.entry(key.clone()).or_insert_with(|| value.clone());
            }
            Self::Tag(tag) => server.tags.push(tag.clone()),
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Metadata { key, value } => format!("metadata {key}={value}"),
            Self::Tag(tag) => format!("tag {tag}"),
        }
    }
}

/// The plain comparisons of the plan's rules: `server.metadata["k"] == "v"`, `server.metadata.k == "v"` and
/// `"t" in server.tags`. What is written otherwise is not guessed at; a plan is not wrong for that.
fn wished(plan: Option<&Plan>) -> BTreeSet<Wish> {
    let conditions = plan.into_iter().flat_map(|plan| &plan.drain.servers).filter_map(|rule| rule.when.as_ref());
    let mut wishes = BTreeSet::new();
    for condition in conditions {
        let text = condition.as_str();
        for (at, word) in text.match_indices("server.metadata") {
            wishes.extend(compared(&text[at + word.len()..]));
        }
        for (at, _) in text.match_indices("server.tags") {
            wishes.extend(text[..at].trim_end().strip_suffix("in").and_then(last_quoted).map(Wish::Tag));
        }
    }
    wishes
}

/// `["k"] == "v"`, `.k == "v"`.
fn compared(text: &str) -> Option<Wish> {
    let (key, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (key, rest) = quoted(rest.trim_start())?;
            (key, rest.trim_start().strip_prefix(']')?)
        }
        None => {
            let rest = text.strip_prefix('.')?;
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
            (rest[..end].to_owned(), &rest[end..])
        }
    };
    let (value, _) = quoted(rest.trim_start().strip_prefix("==")?.trim_start())?;
    Some(Wish::Metadata { key, value })
}

/// A text literal without escapes at the beginning, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let rest = &text[1..];
    let end = rest.find(quote)?;
    let inner = &rest[..end];
    (!inner.is_empty() && !inner.contains('\\')).then(|| (inner.to_owned(), &rest[end + 1..]))
}

/// The literal that a text ends with.
fn last_quoted(text: &str) -> Option<String> {
    let text = text.trim_end();
    let quote = text.chars().next_back().filter(|quote| matches!(quote, '"' | '\''))?;
    let inner = &text[..text.len() - 1];
    let begin = inner.rfind(quote)?;
    let inner = &inner[begin + 1..];
    (!inner.is_empty() && !inner.contains('\\')).then(|| inner.to_owned())
}
