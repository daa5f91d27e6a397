//! Which rungs of its rule's ladder can work for a server as it is now, and the sentence why: two tables (its state
//! here, what it is made of in [`super::conditions`]) and what surrounds it (its host's kind, its group, where it
//! could go). Pure; what the tables say is from nova/compute/api.py's decorators, the same from Liberty to 2026.2
//! unless a row says otherwise.

use super::BlockerCode;
use super::conditions::{CONDITIONS, LIVE_DOUBTS};
use super::facts::power_word;
use crate::cloud::{GroupPolicy, Microversion, Migration, PowerState, Server, ServerGroup, ServerStatus};
use crate::plan::{Rung, ServerRule};

/// What a server's fate depends on besides itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub newest: Microversion,
    /// `hypervisor_type` of its host.
    pub hypervisor: &'a str,
    pub group: Option<&'a ServerGroup>,
    /// The newest migration of it that has not ended.
    pub migration: Option<&'a Migration>,
    /// Hosts that the scheduler could choose for it.
    pub destinations: usize,
    /// How many members of its hard anti-affinity group those could still take; of no meaning without one.
    pub room: u64,
}

/// Why a rung, or every rung, is out of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Obstacle {
    pub code: BlockerCode,
    /// A clause about the server: `it is SUSPENDED …`.
    pub cause: String,
    pub remedy: String,
}

/// What becomes of the server. An empty ladder has an obstacle, any other has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub ladder: Vec<Rung>,
    pub why: String,
    pub obstacle: Option<Obstacle>,
}

impl Verdict {
    /// Whether the server is expected to need room elsewhere.
    pub fn moves(&self) -> bool {
        self.ladder.iter().any(|rung| matches!(rung, Rung::Live | Rung::Cold))
    }
}

/// States in which nothing that furlough offers can be done. `{id}` stands for the server's id.
struct Stuck {
    status: ServerStatus,
    code: BlockerCode,
    cause: &'static str,
    remedy: &'static str,
}

const fn stuck(status: ServerStatus, code: BlockerCode, cause: &'static str, remedy: &'static str) -> Stuck {
    Stuck { status, code, cause, remedy }
}

static STUCK: &[Stuck] = &[
    stuck(
        ServerStatus::Suspended,
        BlockerCode::ServerState,
        "its memory is saved on the host, and Nova neither migrates nor stops it",
        "resume it (openstack server resume {id}), or let its rule leave it",
    ),
    stuck(
        ServerStatus::Rescue,
        BlockerCode::ServerState,
        "it runs from a rescue disk, and Nova neither migrates nor stops it",
        "unrescue it (openstack server unrescue {id}), or let its rule leave it",
    ),
    stuck(
        ServerStatus::VerifyResize,
        BlockerCode::ForeignResize,
        "a resize or cold migration that is not this run's waits to be confirmed or reverted",
        "ask its owner, then confirm or revert it (openstack server resize confirm {id}, or … revert {id})",
    ),
    stuck(
        ServerStatus::Shelved,
        BlockerCode::ServerState,
        "it is shelved, and its disk is still on the host",
        "offload it (openstack server shelve --offload {id}), or let its rule leave it",
    ),
    stuck(
        ServerStatus::ShelvedOffloaded,
        BlockerCode::ServerBusy,
        "it is being offloaded from the host",
        "wait until it is gone and compile again",
    ),
    stuck(
        ServerStatus::SoftDeleted,
        BlockerCode::ServerState,
        "it is deleted but can still be restored, and its disk is still on the host",
        "restore it (openstack server restore {id}), delete it for good, or let its rule leave it",
    ),
    stuck(
        ServerStatus::Error,
        BlockerCode::ServerState,
        "Nova migrates no server in ERROR, and stopping one could hide what is wrong with it",
        "find out what is wrong; if it is healthy, reset its state (openstack server set --state active {id})",
    ),
    stuck(
        ServerStatus::Build,
        BlockerCode::ServerBusy,
        "it is being built",
        "wait until it is built and compile again; if it never ends, delete it",
    ),
    stuck(
        ServerStatus::Unknown,
        BlockerCode::NotVisible,
        "its cell does not answer, so its state is not known",
        "bring the cell's database and message queue back, then compile again",
    ),
];

/// Statuses that are an action under way (`_STATE_MAP` derives them from the task state).
static BUSY: &[ServerStatus] = &[
    ServerStatus::HardReboot,
    ServerStatus::Migrating,
    ServerStatus::Password,
    ServerStatus::Reboot,
    ServerStatus::Rebuild,
    ServerStatus::Resize,
    ServerStatus::RevertResize,
];

/// Those of them that belong to a migration record.
static MOVING: &[ServerStatus] =
    &[ServerStatus::Migrating, ServerStatus::Rebuild, ServerStatus::Resize, ServerStatus::RevertResize];

/// States that allow something, and what.
struct Allows {
    status: ServerStatus,
    live: bool,
    cold: bool,
    stop: bool,
}

static ALLOWS: &[Allows] = &[
    Allows { status: ServerStatus::Active, live: true, cold: true, stop: true },
    // os-stop is refused (409), but there is nothing to stop: it stays off, and is not started afterwards.
    Allows { status: ServerStatus::Shutoff, live: false, cold: true, stop: true },
    Allows { status: ServerStatus::Paused, live: true, cold: false, stop: false },
];

/// Kinds of hypervisor (nova/objects/fields.py HVType) whose driver neither live- nor cold-migrates.
const IMMOVABLE_KINDS: [&str; 9] = ["ironic", "baremetal", "lxc", "lxd", "docker", "uml", "phyp", "powervm", "zvm"];

/// Kinds where one compute service stands for many nodes, so that even disabling it means something else.
const BARE_METAL_KINDS: [&str; 2] = ["ironic", "baremetal"];

pub(super) fn is_bare_metal(kind: &str) -> bool {
    BARE_METAL_KINDS.iter().any(|bare| kind.eq_ignore_ascii_case(bare))
}

/// Decides what becomes of a server by its rule.
pub(super) fn classify(server: &Server, rule: &ServerRule, around: &Surroundings<'_>) -> Verdict {
    let says = format!("{} says {}", rule.at, words(&rule.ladder));
    if is_going(server) {
        return Verdict { ladder: rule.ladder.clone(), why: format!("{says}; it is being deleted"), obstacle: None };
    }
    if let Some(obstacle) = stuck_state(server, around) {
        return stay_or_block(rule, &says, obstacle);
    }
    let mut ladder = Vec::new();
    let mut ruled_out = Vec::new();
    for &rung in &rule.ladder {
        match obstacle_to(rung, server, around) {
            Some(obstacle) => ruled_out.push((rung, obstacle)),
            None if !ladder.contains(&rung) => ladder.push(rung),
            None => {}
        }
        if rung == Rung::Leave {
            break;
        }
    }
    let mut why = says;
    for (rung, obstacle) in &ruled_out {
        let cause = if ruled_out.iter().take_while(|(other, _)| other != rung).any(|(_, other)| other == obstacle) {
            "for the same reason"
        } else {
            &obstacle.cause
        };
        why.push_str(&format!("; {} is ruled out: {cause}", word(*rung)));
    }
    for remark in remarks(server, &ladder, around.newest) {
        why.push_str("; ");
        why.push_str(remark);
    }
    let obstacle = if ladder.is_empty() { summary(ruled_out) } else { None };
    Verdict { ladder, why, obstacle }
}

/// A delete has begun: it goes by itself. `soft-deleting` is not that: such a server stays on the host.
fn is_going(server: &Server) -> bool {
    server.task_state.as_deref() == Some("deleting") || server.status == ServerStatus::Deleted
}

/// Why nothing at all can be done with the server now.
fn stuck_state(server: &Server, around: &Surroundings<'_>) -> Option<Obstacle> {
    let status = &server.status;
    if let Some(migration) = around.migration.filter(|_| MOVING.contains(status)) {
        return Some(Obstacle {
            code: BlockerCode::ForeignMigration,
            cause: format!(
                "it is {status}: migration {} of it, which is not this run's, is {}{}",
                migration.id,
                migration.status,
                migration.dest_host.as_ref().map_or_else(String::new, |host| format!(" towards {host}"))
            ),
            remedy: "wait until that migration has ended and compile again".to_owned(),
        });
    }
    if let Some(task) = &server.task_state {
        return Some(busy(format!("it is {status}, and Nova is at work on it ({task})")));
    }
    if BUSY.contains(status) {
        return Some(busy(format!("it is {status}: Nova is at work on it")));
    }
    if let Some(row) = STUCK.iter().find(|row| row.status == *status) {
        let fault = server.fault.as_ref().map_or_else(String::new, |fault| format!(" (Nova says: {fault})"));
        return Some(Obstacle {
            code: row.code,
            cause: format!("it is {status}: {}{fault}", row.cause),
            remedy: row.remedy.replace("{id}", &server.id),
        });
    }
    if ALLOWS.iter().any(|row| row.status == *status) {
        return None;
    }
    Some(Obstacle {
        code: BlockerCode::ServerState,
        cause: format!("its status {status} is not known to this furlough"),
        remedy: "use a newer furlough, or let its rule leave it".to_owned(),
    })
}

fn busy(cause: String) -> Obstacle {
    let remedy = "wait until it is idle and compile again".to_owned();
    Obstacle { code: BlockerCode::ServerBusy, cause, remedy }
}

/// With `leave` anywhere in the ladder the server stays; without, it blocks.
fn stay_or_block(rule: &ServerRule, says: &str, obstacle: Obstacle) -> Verdict {
    if rule.ladder.contains(&Rung::Leave) {
        let why = format!("{says}; it stays, because {}", obstacle.cause);
        return Verdict { ladder: vec![Rung::Leave], why, obstacle: None };
    }
    Verdict { ladder: Vec::new(), why: format!("{says}; {}", obstacle.cause), obstacle: Some(obstacle) }
}

/// Why one rung cannot work for a server whose state allows something.
fn obstacle_to(rung: Rung, server: &Server, around: &Surroundings<'_>) -> Option<Obstacle> {
    if rung == Rung::Leave {
        return None;
    }
    by_state(rung, server).or_else(|| by_hardware(rung, server, around)).or_else(|| match rung {
        Rung::Live | Rung::Cold => by_group(around).or_else(|| by_destination(server, around)),
        Rung::Stop | Rung::Leave => None,
    })
}

fn by_state(rung: Rung, server: &Server) -> Option<Obstacle> {
    let row = ALLOWS.iter().find(|row| row.status == server.status)?;
    let (allowed, needs) = match rung {
        Rung::Live => (row.live, "a live migration needs ACTIVE or PAUSED"),
        Rung::Cold => (row.cold, "a cold migration needs ACTIVE or SHUTOFF"),
        Rung::Stop => (row.stop, "a stop needs ACTIVE"),
        Rung::Leave => (true, ""),
    };
    let cause = if !allowed {
        format!("it is {}, and {needs}", server.status)
    } else if rung == Rung::Live && !may_run(server.power_state) {
        // nova/conductor/tasks/live_migrate.py `_check_instance_is_active`
        format!("its power state is {}, and a live migration needs running or paused", power_word(server.power_state))
    } else {
        return None;
    };
    let others: Vec<&str> = [(row.live, "live"), (row.cold, "cold"), (row.stop, "stop"), (true, "leave")]
        .into_iter()
        .filter_map(|(works, name)| works.then_some(name))
        .filter(|&name| name != word(rung))
        .collect();
    let remedy = format!("let its rule say {}, or change its state", others.join(" or "));
    Some(Obstacle { code: BlockerCode::ServerState, cause, remedy })
}

/// Nova refuses to live-migrate by the power state it last saw; one that is not shown is left to it.
fn may_run(state: PowerState) -> bool {
    matches!(state, PowerState::Running | PowerState::Paused | PowerState::Unknown)
}

fn by_hardware(rung: Rung, server: &Server, around: &Surroundings<'_>) -> Option<Obstacle> {
    let moves = matches!(rung, Rung::Live | Rung::Cold);
    if moves && IMMOVABLE_KINDS.iter().any(|kind| around.hypervisor.eq_ignore_ascii_case(kind)) {
        return Some(Obstacle {
            code: BlockerCode::HypervisorUnsupported,
            cause: format!("its host's hypervisor is {}, whose servers Nova does not migrate", around.hypervisor),
            remedy: "let its rule say stop or leave".to_owned(),
        });
    }
    let is_off = server.status == ServerStatus::Shutoff;
    CONDITIONS.iter().filter(|row| (row.holds)(server, around.newest)).find_map(|row| {
        let why = row.bars(rung, around.newest, is_off)?;
        let remedies: Vec<&str> = [Rung::Cold, Rung::Stop, Rung::Leave]
            .into_iter()
            .filter(|&other| other != rung && row.bars(other, around.newest, is_off).is_none())
            .map(word)
            .collect();
        Some(Obstacle {
            code: BlockerCode::ServerHardware,
            cause: format!("it has {}: {why}", row.name),
            remedy: format!("let its rule say {}", remedies.join(" or ")),
        })
    })
}

/// Hard server groups: nova/scheduler/filters/affinity_filter.py and scheduler/utils.py `setup_instance_group`.
fn by_group(around: &Surroundings<'_>) -> Option<Obstacle> {
    let group = around.group?;
    let (cause, remedy) = match group.policy {
        // The filter accepts only the hosts of the group, and the source is among those that are ignored.
        GroupPolicy::Affinity => (
            format!(
                "server group {} holds its members on one host, so the scheduler never accepts another",
                group.name
            ),
            "let its rule say stop or leave, or recreate it in a group with soft-affinity",
        ),
        GroupPolicy::AntiAffinity if around.room == 0 => (
            format!(
                "server group {} allows {} of its members on a host, and no host is left with room for it",
                group.name, group.max_server_per_host
            ),
            "make the waves smaller, bring another host into service, or let its rule say stop or leave",
        ),
        _ => return None,
    };
    Some(Obstacle { code: BlockerCode::ServerGroup, cause, remedy: remedy.to_owned() })
}

fn by_destination(server: &Server, around: &Surroundings<'_>) -> Option<Obstacle> {
    if around.destinations > 0 {
        return None;
    }
    let cause = match &server.pinned_zone {
        Some(zone) => format!("it is pinned to zone {zone}, where no host is left that is enabled and up"),
        None => "no host is left that is enabled and up".to_owned(),
    };
    let remedy = "make the waves smaller, enable another host, or let its rule say stop or leave".to_owned();
    Some(Obstacle { code: BlockerCode::NoDestination, cause, remedy })
}

/// What is worth knowing about a server that can be handled.
fn remarks(server: &Server, ladder: &[Rung], newest: Microversion) -> Vec<&'static str> {
    let mut remarks = Vec::new();
    if ladder.contains(&Rung::Live) {
        remarks.extend(LIVE_DOUBTS.iter().filter(|doubt| (doubt.holds)(server, newest)).map(|doubt| doubt.says));
    }
    if ladder.contains(&Rung::Stop) && server.status == ServerStatus::Shutoff {
        remarks.push("it is off already and stays so");
    }
    if server.locked == Some(true) && ladder != [Rung::Leave] {
        // nova/compute/api.py `check_instance_lock`: refused for others than admins only
        remarks.push("it is locked, which an admin's request passes");
    }
    remarks
}

/// One obstacle out of those of each rung: the first one's code and remedy, every cause once.
fn summary(ruled_out: Vec<(Rung, Obstacle)>) -> Option<Obstacle> {
    let mut causes: Vec<String> = Vec::new();
    for (_, obstacle) in &ruled_out {
        if !causes.contains(&obstacle.cause) {
            causes.push(obstacle.cause.clone());
        }
    }
    let (_, first) = ruled_out.into_iter().next()?;
    Some(Obstacle { cause: causes.join("; "), ..first })
}

pub(super) fn word(rung: Rung) -> &'static str {
    match rung {
        Rung::Live => "live",
        Rung::Cold => "cold",
        Rung::Stop => "stop",
        Rung::Leave => "leave",
    }
}

/// `live, then cold`.
pub(super) fn words(ladder: &[Rung]) -> String {
    ladder.iter().map(|&rung| word(rung)).collect::<Vec<_>>().join(", then ")
}
