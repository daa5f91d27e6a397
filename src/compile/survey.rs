//! What surrounds a server in the reading: its group, its migrations, where the scheduler could send it while its wave
//! is out of service. And what stands in the way of a host as a whole.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::classify::{Obstacle, Surroundings, Verdict, classify, is_bare_metal};
use super::facts::server_facts;
use super::{Blocker, BlockerCode, CompileError, HostPlan, ServerPlan, run_of_reason};
use crate::cloud::{
    GroupPolicy, Host, Inventory, Migration, MigrationStatus, Server, ServerGroup, ServerStatus, ServiceState,
    ServiceStatus,
};
use crate::plan::facts::HostFacts;
use crate::plan::{Facts, Finish, Plan, ServerRule, TextError};

pub(super) struct Survey<'a> {
    plan: &'a Plan,
    inventory: &'a Inventory,
    servers: BTreeMap<&'a str, &'a Server>,
    group_of: BTreeMap<&'a str, &'a ServerGroup>,
    /// The newest record of each server that has not ended.
    migration_of: BTreeMap<&'a str, &'a Migration>,
    /// Hosts the scheduler may choose while a wave is out.
    destinations: BTreeMap<u32, Vec<&'a Host>>,
    /// Members of each hard anti-affinity group that a wave already sends to those.
    promised: BTreeMap<(u32, &'a str), u64>,
    /// The facts of the host whose servers are being judged, ready for conditions.
    facts: Option<(String, Facts)>,
}

impl<'a> Survey<'a> {
    pub fn new(plan: &'a Plan, inventory: &'a Inventory, hosts: &'a [HostPlan]) -> Self {
        let wave_of: BTreeMap<&str, u32> = hosts.iter().map(|host| (host.name.as_str(), host.wave)).collect();
        let mut migration_of: BTreeMap<&str, &Migration> = BTreeMap::new();
        for migration in inventory.migrations.iter().filter(|migration| !migration.status.is_terminal()) {
            let newest = migration_of.entry(&migration.server).or_insert(migration);
            if migration.id > newest.id {
                *newest = migration;
            }
        }
        let mut group_of = BTreeMap::new();
        for group in &inventory.groups {
            for member in &group.members {
                group_of.entry(member.as_str()).or_insert(group);
            }
        }
        let mut destinations = BTreeMap::new();
        for wave in hosts.iter().map(|host| host.wave) {
            destinations
                .entry(wave)
                .or_insert_with(|| usable(inventory, |host| is_out(wave_of.get(host), wave, plan.finish)));
        }
        Self {
            plan,
            inventory,
            servers: inventory.servers.iter().map(|server| (server.id.as_str(), server)).collect(),
            group_of,
            migration_of,
            destinations,
            promised: BTreeMap::new(),
            facts: None,
        }
    }

    /// Whether the scheduler has no host at all to choose while this wave is out.
    pub fn has_no_destination(&self, wave: u32) -> bool {
        self.destinations.get(&wave).is_none_or(Vec::is_empty)
    }

    /// Decides about one server, and remembers the room it will take from its group.
    pub fn judge(&mut self, server: &Server, host: &HostFacts, wave: u32) -> Result<Verdict, CompileError> {
        let group = self.group_of.get(server.id.as_str()).copied();
        let rule = self.rule(server, host, group)?;
        let everywhere: &[&Host] = self.destinations.get(&wave).map_or(&[], Vec::as_slice);
        // Few servers are pinned, and hosts are many: the common case makes no list of its own.
        let places: Cow<'_, [&Host]> = match server.pinned_zone.as_deref() {
            None => Cow::Borrowed(everywhere),
            Some(zone) => everywhere.iter().copied().filter(|place| place.zone() == zone).collect(),
        };
        let hard = group.filter(|group| group.policy == GroupPolicy::AntiAffinity);
        let room = hard.map_or(0, |group| {
            self.room(group, &places).saturating_sub(self.promised.get(&(wave, &group.id)).copied().unwrap_or(0))
        });
        let around = Surroundings {
            newest: self.inventory.capabilities.newest,
            hypervisor: &host.hypervisor.kind,
            group,
            migration: self.migration_of.get(server.id.as_str()).copied(),
            destinations: places.len(),
            room,
        };
        let verdict = classify(server, rule, &around);
        if let Some(group) = hard.filter(|_| verdict.moves()) {
            *self.promised.entry((wave, &group.id)).or_default() += 1;
        }
        Ok(verdict)
    }

    /// The plan's row and the blocker, if any, of a server on a host.
    pub fn plan_server(&self, server: &Server, host: &str, verdict: &Verdict) -> (ServerPlan, Option<Blocker>) {
        let row = ServerPlan {
            id: server.id.clone(),
            name: server.name.clone(),
            host: host.to_owned(),
            status: server.status.clone(),
            power_state: server.power_state,
            locked: server.locked,
            memory_mib: server.flavor.memory_mib,
            local_disk_gib: server.local_disk_gib(),
            group: self.group_of.get(server.id.as_str()).map(|group| group.name.clone()),
            apart: self
                .group_of
                .get(server.id.as_str())
                .filter(|group| group.policy == GroupPolicy::AntiAffinity)
                .map(|group| group.id.clone()),
            ladder: verdict.ladder.clone(),
            why: verdict.why.clone(),
        };
        let blocker = verdict.obstacle.clone().map(|Obstacle { code, cause, remedy }| Blocker {
            code,
            host: host.to_owned(),
            server: Some((server.id.clone(), server.name.clone())),
            cause,
            remedy,
        });
        (row, blocker)
    }

    /// The first rule whose condition holds. The host's part of the facts is made once for all servers on it.
    fn rule(
        &mut self,
        server: &Server,
        host: &HostFacts,
        group: Option<&ServerGroup>,
    ) -> Result<&'a ServerRule, CompileError> {
        let plan = self.plan;
        let mut is_set = false;
        for rule in &plan.drain.servers {
            let Some(when) = &rule.when else { return Ok(rule) };
            let failed = |error: TextError| CompileError::Expression {
                at: rule.at.clone(),
                text: when.as_str().to_owned(),
                subject: format!("server {} ({}) on {}", server.name, server.id, host.name),
                why: error.to_string(),
            };
            let facts = match &mut self.facts {
                Some((of, facts)) if *of == host.name => facts,
                facts => &mut facts.insert((host.name.clone(), Facts::of_host(host).map_err(failed)?)).1,
            };
            if !is_set {
                facts.set_server(&server_facts(server, group)).map_err(failed)?;
                is_set = true;
            }
            if when.holds_for(facts).map_err(failed)? {
                return Ok(rule);
            }
        }
        Err(CompileError::NoRule { server: format!("{} ({})", server.name, server.id) })
    }

    /// How many more members of the group the hosts could take, by where its members are now.
    fn room(&self, group: &ServerGroup, places: &[&Host]) -> u64 {
        let mut members: BTreeMap<&str, u64> = BTreeMap::new();
        for member in &group.members {
            if let Some(host) = self.servers.get(member.as_str()).and_then(|server| server.host.as_deref()) {
                *members.entry(host).or_default() += 1;
            }
        }
        places
            .iter()
            .map(|place| {
                group.max_server_per_host.saturating_sub(members.get(place.name.as_str()).copied().unwrap_or(0))
            })
            .fold(0, u64::saturating_add)
    }

    /// What stands in the way of a host, whatever is on it; and records of migrations that look left over.
    pub fn host_blockers(&self, host: &Host, notes: &mut Vec<String>) -> Vec<Blocker> {
        let mut blockers: Vec<Blocker> = self.service_blocker(host).into_iter().collect();
        for migration in &self.inventory.migrations {
            let towards = migration.dest_host.as_deref() == Some(&host.name);
            let from = migration.source_host.as_deref() == Some(&host.name);
            if migration.status.is_terminal() || !(towards || from) {
                continue;
            }
            let server = self.servers.get(migration.server.as_str()).copied();
            // A server that is on the host is judged by its own state and its own rule.
            if server.is_some_and(|server| server.host.as_deref() == Some(&host.name)) {
                continue;
            }
            if let Some(server) = server.filter(|server| is_leftover(migration, server)) {
                notes.push(format!(
                    "migration {} of server {} ({}) is {} although the server is {} and idle: taken for a leftover",
                    migration.id, server.name, server.id, migration.status, server.status
                ));
                continue;
            }
            blockers.push(migration_blocker(host, migration, server, from));
        }
        blockers
    }

    fn service_blocker(&self, host: &Host) -> Option<Blocker> {
        let service = &host.service;
        let blocker = |code, cause: String, remedy: String| {
            Some(Blocker { code, host: host.name.clone(), server: None, cause, remedy })
        };
        if service.state == ServiceState::Unknown || service.status == ServiceStatus::Unknown {
            return blocker(
                BlockerCode::NotVisible,
                "the cell of its compute service does not answer".to_owned(),
                "bring the cell's database and message queue back, then compile again".to_owned(),
            );
        }
        if let Some(gap) = self.inventory.gaps.iter().find(|gap| gap.host.as_deref() == Some(&host.name)) {
            return blocker(
                BlockerCode::NotVisible,
                format!("{} could not be read: {}", gap.what, gap.why),
                "make it readable and compile again, or exclude the host".to_owned(),
            );
        }
        if let Some(kind) = host.hypervisors.iter().map(|row| &row.kind).find(|kind| is_bare_metal(kind)) {
            return blocker(
                BlockerCode::HypervisorUnsupported,
                format!("its hypervisor is {kind}: one compute service for many nodes, of which nothing can be moved"),
                "exclude the host".to_owned(),
            );
        }
        if service.state == ServiceState::Down || service.forced_down == Some(true) {
            let forced = if service.forced_down == Some(true) { "forced down" } else { "down" };
            let since = service.updated_at.map_or_else(String::new, |at| format!(" (last heartbeat {at})"));
            return blocker(
                BlockerCode::HostDown,
                format!("its nova-compute is {forced}{since}, and no server leaves such a host by migration"),
                "bring nova-compute back, or exclude the host".to_owned(),
            );
        }
        let run = service.disabled_reason.as_deref().and_then(run_of_reason);
        match (service.status, run) {
            (ServiceStatus::Disabled, Some(run)) => blocker(
                BlockerCode::HeldByRun,
                format!("furlough run {run} holds it, or left it behind"),
                format!("finish it (furlough resume {run}), or give it back (furlough enable {})", host.name),
            ),
            _ => None,
        }
    }
}

/// Whether a host is out of service while `wave` is: its own wave's are, and with `keep_disabled` all before it.
fn is_out(wave_of_host: Option<&u32>, wave: u32, finish: Finish) -> bool {
    wave_of_host.is_some_and(|&of_host| match finish {
        Finish::Enable => of_host == wave,
        Finish::KeepDisabled => of_host <= wave,
    })
}

/// Hosts that take servers from the scheduler (scheduler/filters/compute_filter.py).
fn usable(inventory: &Inventory, is_out: impl Fn(&str) -> bool) -> Vec<&Host> {
    let takes = |host: &&Host| {
        host.service.status == ServiceStatus::Enabled
            && host.service.state == ServiceState::Up
            && host.service.forced_down != Some(true)
            && !host.hypervisors.iter().any(|row| is_bare_metal(&row.kind))
    };
    inventory.hosts.iter().filter(takes).filter(|host| !is_out(&host.name)).collect()
}

fn owes_confirm(status: &MigrationStatus) -> bool {
    matches!(status, MigrationStatus::Finished | MigrationStatus::Confirming | MigrationStatus::Reverting)
}

/// Records can stay unfinished for ever, for instance of a server that was evacuated in the middle of a live
/// migration: one whose server shows nothing of it moves nothing any more.
fn is_leftover(migration: &Migration, server: &Server) -> bool {
    let in_resize = matches!(server.status, ServerStatus::VerifyResize | ServerStatus::RevertResize);
    server.is_idle() && !(owes_confirm(&migration.status) && in_resize)
}

fn migration_blocker(host: &Host, migration: &Migration, server: Option<&Server>, from: bool) -> Blocker {
    let id = migration.server.clone();
    let name = server.map_or_else(|| id.clone(), |server| server.name.clone());
    let (code, cause, remedy) = if from && owes_confirm(&migration.status) {
        (
            BlockerCode::ForeignResize,
            format!(
                "server {name} ({id}) was resized or cold-migrated away (migration {}, {}), and its disk stays here \
                 until that is confirmed or reverted",
                migration.id, migration.status
            ),
            format!(
                "ask its owner, then confirm or revert it (openstack server resize confirm {id}, or … revert {id})"
            ),
        )
    } else {
        let way = if from { "leaving it" } else { "coming to it" };
        (
            BlockerCode::ForeignMigration,
            format!("server {name} ({id}) is {way} by migration {}, which is {}", migration.id, migration.status),
            "wait until that migration has ended and compile again".to_owned(),
        )
    };
    Blocker { code, host: host.name.clone(), server: Some((id, name)), cause, remedy }
}
