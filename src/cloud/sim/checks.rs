//! What a live migration has to pass before anything is copied: the conductor tries one host after the other, and each
//! destination looks at itself and at the source (conductor/tasks/live_migrate.py, virt/libvirt/driver.py).

use super::faults::Fate;
use super::live::RPC_TIMEOUT_MS;
use super::scheduler::Unfit;
use super::world::{HostId, ServerId, World};
use crate::cloud::{BlockMigration, Server};

/// A destination, or why there is none, and how long that took to find out.
pub(super) struct Decision {
    pub result: Result<HostId, Unfit>,
    pub took_ms: u64,
}

impl World {
    /// Conductor, scheduler and pre-checks: one host after the other until one will do.
    pub(super) fn decide_live(
        &mut self,
        server: ServerId,
        wanted: Option<HostId>,
        block: BlockMigration,
        fate: Option<Fate>,
    ) -> Decision {
        let mut took_ms = self.span("schedule", server, self.habits.schedule_ms);
        let Some(source) = self.host_of(server) else {
            return Decision { result: Err(Unfit::no_valid_host()), took_ms };
        };
        let unfit = |class, text: String| Unfit {
            event: "conductor_live_migrate_instance",
            class,
            text,
            fatal: false,
            tried: false,
        };
        let name = &self.hosts[source].name;
        if !self.hosts[source].is_up() {
            let text = format!("Compute service of {name} is unavailable at this time.");
            return Decision { result: Err(unfit("ComputeServiceUnavailable", text)), took_ms };
        }
        if wanted == Some(source) {
            let id = &self.servers[server].row.now.id;
            let text = format!("Unable to migrate instance ({id}) to current host ({name}).");
            return Decision { result: Err(unfit("UnableToMigrateToSelf", text)), took_ms };
        }
        if fate == Some(Fate::NoValidHostLate) {
            return Decision { result: Err(Unfit::no_valid_host()), took_ms };
        }
        let mut tried = Vec::new();
        let mut last = None;
        loop {
            let Some(dest) = self.schedule(server, wanted, &tried) else {
                let last = last.map(|last: Unfit| Unfit { tried: true, ..last });
                return Decision { result: Err(last.unwrap_or_else(Unfit::no_valid_host)), took_ms };
            };
            if !self.hosts[dest].alive || !self.hosts[source].alive {
                took_ms += RPC_TIMEOUT_MS;
            }
            match self.check_live(server, source, dest, block, fate) {
                Ok(()) => return Decision { result: Ok(dest), took_ms },
                Err(unfit) if unfit.fatal => return Decision { result: Err(unfit), took_ms },
                Err(unfit) => {
                    last = Some(unfit);
                    tried.push(dest);
                    took_ms += self.rpc(server);
                }
            }
        }
    }

    fn check_live(
        &self,
        server: ServerId,
        source: HostId,
        dest: HostId,
        block: BlockMigration,
        fate: Option<Fate>,
    ) -> Result<(), Unfit> {
        let unfit = |class, text: String| {
            let event = "compute_check_can_live_migrate_destination";
            Err(Unfit { event, class, text, fatal: false, tried: false })
        };
        let (from, to) = (&self.hosts[source], &self.hosts[dest]);
        if !to.alive {
            let text = format!(
                "Migration pre-check error: Timeout while checking if we can live migrate to host: {}",
                to.name
            );
            return unfit("MigrationPreCheckError", text);
        }
        if !from.alive {
            // An unexpected error of the conductor's until 2026.1 (release note bug-2044235).
            let text = "Timed out waiting for a reply to message ID".to_owned();
            let event = "compute_check_can_live_migrate_source";
            return Err(Unfit { event, class: "MessagingTimeout", text, fatal: !self.release.does(101), tried: false });
        }
        let kind = |host: &super::services::HostState| host.hypervisors.first().map(|it| (it.kind.clone(), it.version));
        if let (Some((a, old)), Some((b, new))) = (kind(from), kind(to)) {
            if a != b {
                return unfit("InvalidHypervisorType", "The supplied hypervisor type of is invalid.".to_owned());
            }
            if old.zip(new).is_some_and(|(old, new)| new < old) {
                let text = "The instance requires a newer hypervisor version than has been provided.".to_owned();
                return unfit("DestinationHypervisorTooOld", text);
            }
        }
        let row = &self.servers[server].row.now;
        let has_disks = row.local_disk_gib() > 0 || row.flavor.swap_mib > 0;
        let path = format!("/var/lib/nova/instances of {}", to.name);
        match block {
            BlockMigration::Never if has_disks && !self.habits.shared_storage => {
                let text = format!(
                    "{path} is not on shared storage: Shared storage live-migration requires either shared storage or \
                     boot-from-volume with no local disks."
                );
                return unfit("InvalidSharedStorage", text);
            }
            BlockMigration::Always if self.habits.shared_storage || !has_disks => {
                let text =
                    format!("{path} is not on local storage: Block migration can not be used with shared storage.");
                return unfit("InvalidLocalStorage", text);
            }
            _ => {}
        }
        if let Some(text) = self.never_checked(row) {
            return unfit("MigrationPreCheckError", format!("Migration pre-check error: {text}"));
        }
        if self.breaks_group(server, dest) {
            let text = "Anti-affinity instance group policy was violated".to_owned();
            let event = "compute_check_can_live_migrate_destination";
            return Err(Unfit { event, class: "MigrationError", text, fatal: true, tried: false });
        }
        if fate == Some(Fate::PrecheckFails) {
            let text = "Migration pre-check error: Unacceptable CPU info: CPU doesn't have compatibility.".to_owned();
            return unfit("MigrationPreCheckError", text);
        }
        Ok(())
    }

    /// What no host passes, by flavor and release: NUMA in Stein alone, PCI devices from Train to 2024.2
    /// (conductor/tasks/live_migrate.py `_check_instance_has_no_numa`, `_check_can_migrate_pci`).
    fn never_checked(&self, row: &Server) -> Option<&'static str> {
        let spec = |key: &str| row.flavor.extra_specs.get(key);
        let pinned = spec("hw:cpu_policy").is_some_and(|policy| policy != "shared");
        let numa = pinned || spec("hw:numa_nodes").is_some() || spec("hw:mem_page_size").is_some();
        if numa && self.release.does(66) && !self.release.does(73) {
            return Some("Instance has an associated NUMA topology.");
        }
        let pci = spec("pci_passthrough:alias").is_some();
        (pci && self.release.does(73) && !self.release.does(97))
            .then_some("Live migration can not be done with non-VIF PCI devices.")
    }
}
