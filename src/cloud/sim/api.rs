//! Nova's API: what each server state allows, and Nova's words where it does not (compute/api.py, api/openstack/common.py).
//! The answers below 2.34 (live) and Ussuri (cold) come only when the scheduler has decided.

use super::faults::{AskKind, Fate};
use super::live::RPC_TIMEOUT_MS;
use super::moves::{Move, Phase, Step};
use super::scheduler::Unfit;
use super::world::{Due, HostId, ServerId, World};
use super::{Told, What};
use crate::cloud::{Ask, BlockMigration, CloudErrorKind, MigrationKind, MigrationStatus, Refusal, ServiceStatus};

/// What Nova answers.
pub(super) type Answer = Result<(), CloudErrorKind>;

pub(super) fn no(status: u16, refusal: Refusal, message: impl Into<String>) -> CloudErrorKind {
    CloudErrorKind::Refused { status, refusal, message: message.into() }
}

pub(super) fn kind_of(ask: &Ask) -> AskKind {
    match ask {
        Ask::DisableService { .. } => AskKind::Disable,
        Ask::EnableService { .. } => AskKind::Enable,
        Ask::LiveMigrate { .. } => AskKind::Live,
        Ask::ColdMigrate { .. } => AskKind::Cold,
        Ask::ConfirmResize { .. } => AskKind::Confirm,
        Ask::RevertResize { .. } => AskKind::Revert,
        Ask::Stop { .. } => AskKind::Stop,
        Ask::Start { .. } => AskKind::Start,
        Ask::AbortMigration { .. } => AskKind::Abort,
    }
}

/// What Nova calls the action in its refusals.
fn action(ask: &Ask) -> &'static str {
    match ask {
        Ask::LiveMigrate { .. } => "os-migrateLive",
        Ask::ColdMigrate { .. } => "migrate",
        Ask::ConfirmResize { .. } => "confirmResize",
        Ask::RevertResize { .. } => "revertResize",
        Ask::Stop { .. } => "stop",
        Ask::Start { .. } => "start",
        Ask::AbortMigration { .. } => "abort live migration",
        Ask::DisableService { .. } | Ask::EnableService { .. } => "update",
    }
}

pub(super) fn told(answer: &Answer, request_id: &str) -> Told {
    match answer {
        Ok(()) => Told::Accepted { request_id: Some(request_id.to_owned()) },
        Err(CloudErrorKind::Refused { refusal, message, .. }) => {
            Told::Refused { refusal: *refusal, message: message.clone() }
        }
        Err(CloudErrorKind::Lost { .. }) => Told::Lost,
        Err(_) => Told::Unreachable,
    }
}

impl World {
    /// A request of the run reaches Nova, whether or not anybody still waits for its answer.
    pub(super) fn arrives(&mut self, id: u64) {
        let Some(ticket) = self.tickets.get(&id) else { return };
        let (ask, fate, request_id) = (ticket.ask.clone(), ticket.fate, ticket.request_id.clone());
        let at_ms = self.now_ms;
        // The request stands before what it changes.
        let place = self.log.len();
        let (mut answer, more_ms) = match self.made_up(&ask, fate) {
            Some(refused) => (Err(refused), 0),
            None => self.take(&ask, fate, Some(&request_id)),
        };
        if answer.is_ok() {
            self.follow(&ask);
        }
        if fate == Some(Fate::LostAfter) {
            answer = Err(CloudErrorKind::Lost { cause: "connection reset by peer".to_owned() });
        }
        let answer_told = told(&answer, &request_id);
        self.log.insert_with(place, at_ms, || What::Asked { ask, arrived: true, answer: answer_told });
        if let Some(ticket) = self.tickets.get_mut(&id) {
            ticket.answered = Some((answer, more_ms));
        }
    }

    /// The refusals that a script may order, in words as Nova has them.
    fn made_up(&self, ask: &Ask, fate: Option<Fate>) -> Option<CloudErrorKind> {
        let what = action(ask);
        let id = ask.server().unwrap_or_default();
        Some(match fate? {
            Fate::RateLimited => no(429, Refusal::RateLimited, "This request was rate-limited."),
            Fate::Forbidden => {
                no(403, Refusal::Forbidden, format!("Policy doesn't allow os_compute_api:{what} to be performed."))
            }
            Fate::NotFound => no(404, Refusal::NotFound, format!("Instance {id} could not be found.")),
            Fate::Busy => no(
                409,
                Refusal::Busy,
                format!("Cannot '{what}' instance {id} while it is in task_state image_snapshot"),
            ),
            Fate::WrongState => {
                no(409, Refusal::WrongState, format!("Cannot '{what}' instance {id} while it is in vm_state suspended"))
            }
            Fate::Locked => no(409, Refusal::Locked, format!("Instance {id} is locked")),
            Fate::NoValidHost => no(400, Refusal::NoValidHost, Unfit::no_valid_host().text),
            Fate::HostDown => no(409, Refusal::HostDown, "Service is unavailable at this time."),
            Fate::Refused => no(400, Refusal::Other, format!("Operation '{what}' not supported for this instance.")),
            _ => return None,
        })
    }

    /// What the script has follow a request.
    fn follow(&mut self, ask: &Ask) {
        if self.script.is_empty() {
            return;
        }
        let names = self.names(ask);
        for (after_ms, happening) in self.script.arrived(kind_of(ask), &names) {
            self.after(after_ms, Due::Happens(happening));
        }
    }

    /// What a script may call the subject of a request by.
    pub(super) fn names(&self, ask: &Ask) -> Vec<String> {
        match ask {
            Ask::DisableService { host, .. } | Ask::EnableService { host, .. } => vec![host.clone()],
            _ => {
                let id = ask.server().unwrap_or_default();
                let name = self.server_ids.get(id).map(|server| self.servers[*server].row.now.name.clone());
                std::iter::once(id.to_owned()).chain(name).collect()
            }
        }
    }

    /// Nova takes a request or refuses it; the second figure is how much longer than usual the answer takes.
    pub(super) fn take(&mut self, ask: &Ask, fate: Option<Fate>, request: Option<&str>) -> (Answer, u64) {
        match ask {
            Ask::DisableService { host, service_id, reason } => (self.set_service(host, service_id, Some(reason)), 0),
            Ask::EnableService { host, service_id } => (self.set_service(host, service_id, None), 0),
            _ => {
                let id = ask.server().unwrap_or_default();
                let server = self.server_ids.get(id).copied().filter(|server| !self.servers[*server].deleted);
                match server {
                    Some(server) => self.take_action(server, ask, fate, request),
                    None => (Err(no(404, Refusal::NotFound, format!("Instance {id} could not be found."))), 0),
                }
            }
        }
    }

    fn set_service(&mut self, host: &str, service_id: &str, reason: Option<&String>) -> Answer {
        let found = match self.release.has(53) {
            true => self.hosts.iter().position(|it| it.service.now.id == service_id),
            false => self.host_ids.get(host).copied(),
        };
        let Some(found) = found else {
            let message = match self.release.has(53) {
                true => format!("Service {service_id} could not be found."),
                false => format!("Host '{host}' is not mapped to any cell"),
            };
            return Err(no(404, Refusal::NotFound, message));
        };
        self.edit_service(found, |row| {
            row.status = if reason.is_some() { ServiceStatus::Disabled } else { ServiceStatus::Enabled };
            row.disabled_reason = reason.filter(|reason| !reason.is_empty()).cloned();
        });
        let name = self.hosts[found].name.clone();
        if reason.is_some() && self.draws.next(&["late-arrival", &name]).chance(self.chances.late_arrival) {
            self.late_arrival(found);
        }
        Ok(())
    }

    fn take_action(&mut self, server: ServerId, ask: &Ask, fate: Option<Fate>, request: Option<&str>) -> (Answer, u64) {
        if let Ask::AbortMigration { migration_id, .. } = ask {
            return (self.abort(server, *migration_id, fate, request), 0);
        }
        let allowed: &[&str] = match ask {
            Ask::LiveMigrate { .. } => &["active", "paused"],
            Ask::ColdMigrate { .. } => &["active", "stopped"],
            Ask::ConfirmResize { .. } | Ask::RevertResize { .. } => &["resized"],
            Ask::Stop { .. } => &["active", "error"],
            _ => &["stopped"],
        };
        if let Err(refused) = self.allows(server, action(ask), allowed) {
            return (Err(refused), 0);
        }
        match ask {
            Ask::LiveMigrate { host, block_migration, .. } => {
                self.live(server, host.as_deref(), *block_migration, fate, request)
            }
            Ask::ColdMigrate { host, .. } => {
                self.cold(server, host.as_deref(), MigrationKind::Cold, None, fate, request)
            }
            Ask::ConfirmResize { .. } => (self.confirm(server, fate, request), 0),
            Ask::RevertResize { .. } => (self.revert(server, request), 0),
            Ask::Stop { .. } | Ask::Start { .. } => {
                self.begin_power(server, matches!(ask, Ask::Start { .. }), fate, request);
                (Ok(()), 0)
            }
            Ask::AbortMigration { .. } | Ask::DisableService { .. } | Ask::EnableService { .. } => (Ok(()), 0),
        }
    }

    /// `check_instance_state`: vm_state first, then task_state. Locks do not bind an admin.
    pub(super) fn allows(&self, server: ServerId, action: &str, vm_states: &[&str]) -> Answer {
        let row = &self.servers[server].row.now;
        let id = &row.id;
        if !vm_states.contains(&row.vm_state.as_str()) {
            let state = &row.vm_state;
            let message = format!("Cannot '{action}' instance {id} while it is in vm_state {state}");
            return Err(no(409, Refusal::WrongState, message));
        }
        if let Some(task) = &row.task_state {
            let message = format!("Cannot '{action}' instance {id} while it is in task_state {task}");
            return Err(no(409, Refusal::Busy, message));
        }
        if row.host.is_none() {
            return Err(no(409, Refusal::Busy, format!("Instance {id} is not ready")));
        }
        Ok(())
    }

    fn wanted(&self, host: Option<&str>) -> Result<Option<HostId>, CloudErrorKind> {
        let Some(host) = host else { return Ok(None) };
        let found = self.host_ids.get(host).copied();
        found.map(Some).ok_or_else(|| no(400, Refusal::Other, format!("Compute host {host} could not be found.")))
    }

    // ---- moves --------------------------------------------------------------------------------------------------

    pub(super) fn new_move(
        &self,
        server: ServerId,
        kind: MigrationKind,
        source: HostId,
        request: Option<&str>,
    ) -> Move {
        let slot = &self.servers[server];
        Move {
            id: 0,
            server,
            kind,
            source,
            dest: None,
            wanted: None,
            fate: None,
            request: request.map(str::to_owned),
            vm_state: slot.row.now.vm_state.clone(),
            ran: slot.running,
            phase: Phase::Scheduling,
            disk_gib: 0,
            withdrawn: false,
            has_slot: false,
            sampled: None,
            flows: false,
            block: BlockMigration::Auto,
            confirm_after_ms: None,
        }
    }

    /// The conductor makes the record.
    pub(super) fn begins(&mut self, own: Move) {
        if self.servers[own.server].deleted {
            return;
        }
        let live = own.kind == MigrationKind::Live;
        let id = self.make(own);
        let step = if live { Step::LiveScheduled } else { Step::ColdScheduled };
        self.step_after(1, id, step);
    }

    fn make(&mut self, own: Move) -> u64 {
        // Liberty knows no `accepted` (conductor/tasks/live_migrate.py @12).
        let status = match own.kind {
            MigrationKind::Live if self.release.does(13) => MigrationStatus::Accepted,
            _ => MigrationStatus::PreMigrating,
        };
        let id = self.new_record(own.server, own.kind.clone(), status);
        self.moves.insert(id, Move { id, ..own });
        id
    }

    pub(super) fn live(
        &mut self,
        server: ServerId,
        host: Option<&str>,
        block: BlockMigration,
        fate: Option<Fate>,
        request: Option<&str>,
    ) -> (Answer, u64) {
        if let Some(refused) = self.never_live(server) {
            return (Err(refused), 0);
        }
        let wanted = match self.wanted(host) {
            Ok(wanted) => wanted,
            Err(refused) => return (Err(refused), 0),
        };
        let Some(source) = self.host_of(server) else { return (Ok(()), 0) };
        let fate = fate.filter(|fate| is_of_a_move(*fate)).or_else(|| self.live_fate(server));
        let row = &self.servers[server].row.now;
        let copies_disks = block == BlockMigration::Always || !self.habits.shared_storage;
        let disk_gib = if copies_disks { row.local_disk_gib() } else { 0 };
        let own = Move { wanted, fate, disk_gib, block, ..self.new_move(server, MigrationKind::Live, source, request) };
        self.task(server, Some("migrating"));
        if self.release.has(34) {
            let after = self.rpc(server);
            self.after(after, Due::Begins(Box::new(own)));
            return (Ok(()), 0);
        }
        let id = self.make(own);
        let decision = self.decide_live(server, wanted, block, fate);
        let answer = match &decision.result {
            // The API's own call times out, and the migration goes on all the same (compute/api.py `live_migrate`).
            _ if decision.took_ms >= RPC_TIMEOUT_MS => Err(unexpected("MessagingTimeout")),
            Ok(_) => Ok(()),
            Err(unfit) if unfit.fatal => Err(unexpected(unfit.class)),
            Err(unfit) if unfit.tried => Err(no(400, Refusal::NoValidHost, Unfit::no_valid_host().text)),
            Err(unfit) => Err(no(400, refusal_of(unfit), unfit.text.clone())),
        };
        let more_ms = Self::waits_ms(decision.took_ms);
        self.live_decided(id, decision, request);
        (answer, more_ms)
    }

    /// What the API refuses by flavor alone, whatever the hosts (compute/api.py decorators).
    fn never_live(&self, server: ServerId) -> Option<CloudErrorKind> {
        let row = &self.servers[server].row.now;
        let spec = |key: &str| row.flavor.extra_specs.get(key).map(String::as_str);
        let status = if self.release.does(89) { 400 } else { 409 };
        let not_for = |what: &str| {
            let message = format!("Operation 'live-migration' not supported for {what} instance ({}).", row.id);
            no(status, Refusal::Other, message)
        };
        let yes = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on");
        if self.release.does(73) && spec("hw:mem_encryption").is_some_and(yes) {
            return Some(not_for("SEV-enabled"));
        }
        let host_secret = self.release.does(101) && spec("hw:tpm_secret_security") == Some("host");
        if self.release.is_victoria() && spec("hw:tpm_version").is_some() && !host_secret {
            return Some(not_for("vTPM-enabled"));
        }
        None
    }

    fn live_fate(&mut self, server: ServerId) -> Option<Fate> {
        let chances = self.chances;
        let draw = self.draw("live-fate", server);
        let of = [
            (chances.live_precheck_fails, Fate::PrecheckFails),
            (chances.live_no_valid_host, Fate::NoValidHostLate),
            (chances.live_fails * 0.3, Fate::FailsPreparing),
            (chances.live_fails * 0.7, Fate::Fails),
            (chances.live_errors / 2.0, Fate::ErrorsOnSource),
            (chances.live_errors / 2.0, Fate::ErrorsOnDest),
            (chances.live_stalls, Fate::Stalls),
            (chances.live_inverts, Fate::Inverts),
        ];
        super::fates::pick(draw, &of).or_else(|| {
            // Nova switches when the memory has been over once and is still far from done.
            let row = &self.servers[server].row.now;
            let dirty = self.draws.fixed(&["dirty", &row.id]).between(self.habits.dirty_mib_per_s);
            (self.habits.permit_post_copy && dirty * 2 > self.habits.dirty_mib_per_s[1]).then_some(Fate::PostCopy)
        })
    }

    pub(super) fn cold(
        &mut self,
        server: ServerId,
        host: Option<&str>,
        kind: MigrationKind,
        confirm_after_ms: Option<u64>,
        fate: Option<Fate>,
        request: Option<&str>,
    ) -> (Answer, u64) {
        let wanted = match self.wanted(host) {
            Ok(wanted) => wanted,
            Err(refused) => return (Err(refused), 0),
        };
        let Some(source) = self.host_of(server) else { return (Ok(()), 0) };
        if wanted == Some(source) {
            return (Err(no(400, Refusal::Other, "The target host can't be the same one.")), 0);
        }
        if self.release.is_ussuri() && !self.is_up(source) {
            return (Err(no(409, Refusal::HostDown, "Service is unavailable at this time.")), 0);
        }
        let chances = self.chances;
        let draw = self.draw("cold-fate", server);
        let of = [
            (chances.cold_no_valid_host, Fate::NoValidHostLate),
            (chances.cold_rolls_back, Fate::Fails),
            (chances.cold_errors / 2.0, Fate::ErrorsOnSource),
            (chances.cold_errors / 2.0, Fate::ErrorsOnDest),
        ];
        let fate = fate.filter(|fate| is_of_a_move(*fate)).or_else(|| super::fates::pick(draw, &of));
        let row = &self.servers[server].row.now;
        let disk_gib = if self.habits.shared_storage { 0 } else { row.local_disk_gib() };
        let own = Move { wanted, fate, disk_gib, confirm_after_ms, ..self.new_move(server, kind, source, request) };
        self.task(server, Some("resize_prep"));
        if self.release.is_ussuri() {
            let after = self.rpc(server);
            self.after(after, Due::Begins(Box::new(own)));
            return (Ok(()), 0);
        }
        let id = self.make(own);
        let (result, took_ms) = self.decide_cold(server, wanted, fate);
        let answer = match &result {
            Ok(_) => Ok(()),
            Err(unfit) => Err(no(400, refusal_of(unfit), unfit.text.clone())),
        };
        self.cold_decided(id, result, took_ms, request);
        (answer, Self::waits_ms(took_ms))
    }

    fn confirm(&mut self, server: ServerId, fate: Option<Fate>, request: Option<&str>) -> Answer {
        let finished = self.move_of(server).filter(|id| self.phase(*id) == Some(Phase::Finished));
        let Some(id) = finished else {
            return Err(no(400, Refusal::WrongState, "Instance has not been resized."));
        };
        let Some((_, source, _)) = self.ends(id) else { return Ok(()) };
        if self.release.is_victoria() && !self.is_up(source) {
            return Err(no(409, Refusal::HostDown, "Service is unavailable at this time."));
        }
        let chance = self.chances.confirm_errors;
        let fails = self.draw("confirm-fate", server).chance(chance);
        let scripted = matches!(fate, Some(Fate::Fails | Fate::ErrorsOnDest | Fate::ErrorsOnSource));
        self.begin_confirm(id, (fails || scripted).then_some(Fate::Fails), request.map(str::to_owned));
        Ok(())
    }

    fn revert(&mut self, server: ServerId, request: Option<&str>) -> Answer {
        let finished = self.move_of(server).filter(|id| self.phase(*id) == Some(Phase::Finished));
        let Some(id) = finished else {
            return Err(no(400, Refusal::WrongState, "Instance has not been resized."));
        };
        self.begin_revert(id, request.map(str::to_owned));
        Ok(())
    }

    /// 2.24 for what runs, 2.65 for what waits; the hypervisor decides whether it obeys.
    fn abort(&mut self, server: ServerId, migration_id: u64, fate: Option<Fate>, request: Option<&str>) -> Answer {
        let row = &self.servers[server].row.now;
        let id = row.id.clone();
        // The state comes before the record.
        if row.task_state.as_deref() != Some("migrating") {
            let message = format!("Instance {id} is in an invalid state for 'abort live migration'");
            return Err(no(409, Refusal::Other, message));
        }
        let record = self.records.get(&migration_id).map(|record| &record.now).filter(|record| record.server == id);
        let Some(record) = record else {
            let message = format!("Migration {migration_id} not found for instance {id}");
            return Err(no(404, Refusal::NotFound, message));
        };
        let waits = matches!(record.status, MigrationStatus::Queued | MigrationStatus::Preparing);
        if record.status != MigrationStatus::Running && !(waits && self.release.has(65)) {
            let message = format!(
                "Migration {migration_id} state of instance {id} is {}. Cannot abort live migration while the migration \
                 is in this state.",
                record.status
            );
            return Err(no(400, Refusal::Other, message));
        }
        let chance = self.chances.abort_ignored;
        let ignored = fate == Some(Fate::Ignored) || self.draw("abort-ignored", server).chance(chance);
        let after = self.rpc(server);
        let request = request.map(str::to_owned);
        self.step_after(after, migration_id, Step::AbortArrives { server, obeyed: !ignored, request });
        Ok(())
    }
}

fn unexpected(class: &str) -> CloudErrorKind {
    let cause = format!(
        "500 Unexpected API Error. Please report this at http://bugs.launchpad.net/nova/ and attach the Nova API log if \
         possible. <class 'nova.exception.{class}'>"
    );
    CloudErrorKind::Lost { cause }
}

fn refusal_of(unfit: &Unfit) -> Refusal {
    match unfit.class {
        "NoValidHost" => Refusal::NoValidHost,
        "ComputeServiceUnavailable" => Refusal::HostDown,
        _ => Refusal::Other,
    }
}

/// A fate that strikes after the request was taken.
fn is_of_a_move(fate: Fate) -> bool {
    matches!(
        fate,
        Fate::NoValidHostLate
            | Fate::PrecheckFails
            | Fate::Fails
            | Fate::FailsPreparing
            | Fate::ErrorsOnSource
            | Fate::ErrorsOnDest
            | Fate::Stalls
            | Fate::Inverts
            | Fate::PostCopy
    )
}
