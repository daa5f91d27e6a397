//! What rows say: `status` from vm_state and task_state, what a release hides, and a row as it was a while ago.

use crate::cloud::{Capabilities, Microversion, Migration, PowerState, Server, ServerStatus};

/// What changed with a release, as far as the newest microversion tells. Where two releases share one, and Nova changed
/// without it, the seed decides once for the whole cloud which of the two it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Release {
    /// What is on offer.
    minor: u16,
    /// What the services behind it would offer.
    behind: u16,
    /// Of the two releases that 2.87 stands for (Ussuri, Victoria) it is the newer.
    newer_of_pair: bool,
}

impl Release {
    pub(super) fn new(capabilities: Capabilities, behind: Option<Microversion>, newer_of_pair: bool) -> Self {
        let minor = |version: Microversion| if version.major > 2 { u16::MAX } else { version.minor };
        let on_offer = minor(capabilities.newest);
        Self { minor: on_offer, behind: behind.map_or(on_offer, |it| minor(it).max(on_offer)), newer_of_pair }
    }

    /// Requests and answers are those of this microversion or a newer one.
    pub(super) fn has(self, minor: u16) -> bool {
        self.minor >= minor
    }

    /// Its services are of the release of this microversion or a newer one: what changed without a microversion.
    pub(super) fn does(self, minor: u16) -> bool {
        self.behind >= minor
    }

    /// Ussuri: `migrate` answers 202 before anything was scheduled, and wants the source up.
    pub(super) fn is_ussuri(self) -> bool {
        self.does(80)
    }

    /// Victoria: a rollback ends in `failed` instead of `error`, and confirmResize wants the source up.
    pub(super) fn is_victoria(self) -> bool {
        self.does(88) || (self.does(80) && self.newer_of_pair)
    }

    /// Ocata: the host in the row changes before the record says `completed`.
    pub(super) fn host_before_completed(self) -> bool {
        self.does(39)
    }

    /// Xena: the destination checks the server group once more.
    pub(super) fn late_group_check(self) -> bool {
        self.does(89)
    }
}

/// `_STATE_MAP` of api/openstack/common.py.
pub(super) fn status(vm_state: &str, task_state: Option<&str>) -> ServerStatus {
    use ServerStatus as S;
    let task = task_state.unwrap_or_default();
    let resizing = matches!(task, "resize_prep" | "resize_migrating" | "resize_migrated" | "resize_finish");
    let rebuilding = matches!(task, "rebuilding" | "rebuild_block_device_mapping" | "rebuild_spawning");
    match vm_state {
        "active" if resizing => S::Resize,
        "active" if rebuilding => S::Rebuild,
        "active" => match task {
            "migrating" => S::Migrating,
            "rebooting" | "reboot_pending" | "reboot_started" => S::Reboot,
            "rebooting_hard" | "reboot_pending_hard" | "reboot_started_hard" => S::HardReboot,
            "updating_password" => S::Password,
            _ => S::Active,
        },
        "building" => S::Build,
        "stopped" if resizing => S::Resize,
        "stopped" if rebuilding => S::Rebuild,
        "stopped" => S::Shutoff,
        "resized" if task == "resize_reverting" => S::RevertResize,
        "resized" => S::VerifyResize,
        "paused" if task == "migrating" => S::Migrating,
        "paused" => S::Paused,
        "suspended" => S::Suspended,
        "rescued" => S::Rescue,
        "error" if rebuilding => S::Rebuild,
        "error" => S::Error,
        "deleted" => S::Deleted,
        "soft-delete" => S::SoftDeleted,
        "shelved" => S::Shelved,
        "shelved_offloaded" => S::ShelvedOffloaded,
        _ => S::Unknown,
    }
}

/// The vm_state behind a status, for rows that begin with one that does not fit.
pub(super) fn vm_state(status: &ServerStatus) -> Option<&'static str> {
    use ServerStatus as S;
    Some(match status {
        S::Active | S::Migrating | S::Reboot | S::HardReboot | S::Password | S::Rebuild | S::Resize => "active",
        S::Build => "building",
        S::Deleted => "deleted",
        S::Error => "error",
        S::Paused => "paused",
        S::Rescue => "rescued",
        S::RevertResize | S::VerifyResize => "resized",
        S::Shelved => "shelved",
        S::ShelvedOffloaded => "shelved_offloaded",
        S::Shutoff => "stopped",
        S::SoftDeleted => "soft-delete",
        S::Suspended => "suspended",
        S::Unknown | S::Other(_) => return None,
    })
}

/// Whether the guest executes, as far as its row tells at the start.
pub(super) fn runs(row: &Server) -> bool {
    match row.power_state {
        PowerState::Running => true,
        PowerState::NoState | PowerState::Unknown => row.status == ServerStatus::Active,
        PowerState::Paused | PowerState::Shutdown | PowerState::Crashed | PowerState::Suspended => false,
    }
}

/// What this release shows of a server.
pub(super) fn shown(row: &Server, release: Release) -> Server {
    let mut row = row.clone();
    if !release.has(9) {
        row.locked = None;
    }
    if !release.has(96) {
        row.pinned_zone = None;
    }
    if !release.has(98) {
        row.image_properties = None;
    }
    row
}

/// What this release shows of a migration record.
pub(super) fn shown_record(row: &Migration, release: Release) -> Migration {
    let mut row = row.clone();
    if !release.has(23) {
        row.kind = None;
    }
    row
}

/// How long former rows are kept: longer than any stale reading lags.
const KEPT_MS: u64 = 60_000;

/// A row and, where readings may be stale, what it was before.
#[derive(Debug)]
pub(super) struct Kept<T> {
    pub now: T,
    /// Oldest first: the row until this moment.
    former: Vec<(u64, T)>,
}

impl<T: Clone> Kept<T> {
    pub(super) fn new(now: T) -> Self {
        Self { now, former: Vec::new() }
    }

    /// Remembers the row as it is, before it changes.
    pub(super) fn keep(&mut self, at_ms: u64) {
        self.former.retain(|(until, _)| until + KEPT_MS >= at_ms);
        self.former.push((at_ms, self.now.clone()));
    }

    /// The row as it was then. A row is not known to have come into being: it was always there.
    pub(super) fn at(&self, at_ms: u64) -> &T {
        self.former.iter().find(|(until, _)| *until > at_ms).map_or(&self.now, |(_, row)| row)
    }
}
