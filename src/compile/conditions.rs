//! What a server is made of (devices, pinning, encryption) and which moves that rules out on which release: one row
//! for each. Only what flavor extra specs and image properties show is here; ports and volumes are not read, and what
//! depends on them is learnt from Nova's refusal.

use crate::cloud::{Microversion, Server};
use crate::plan::Rung;

/// Whether a method is out of the question.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bar {
    No,
    /// On every release, because of this.
    Always(&'static str),
    /// On releases whose newest microversion is below 2.x, because of this.
    Below(u16, &'static str),
    /// Unless the server is off, because of this.
    WhileOn(&'static str),
}

/// One row: what it is, how it is told, and which methods it bars.
pub(super) struct Condition {
    pub name: &'static str,
    pub holds: fn(&Server, Microversion) -> bool,
    pub live: Bar,
    pub cold: Bar,
    pub stop: Bar,
}

impl Condition {
    /// Why this rung is barred, if it is.
    pub fn bars(&self, rung: Rung, newest: Microversion, is_off: bool) -> Option<&'static str> {
        let bar = match rung {
            Rung::Live => self.live,
            Rung::Cold => self.cold,
            Rung::Stop => self.stop,
            Rung::Leave => Bar::No,
        };
        match bar {
            Bar::No => None,
            Bar::Always(why) => Some(why),
            Bar::Below(minor, why) => (newest < Microversion::v2(minor)).then_some(why),
            Bar::WhileOn(why) => (!is_off).then_some(why),
        }
    }
}

/// First microversion of 2024.1 (29.0.0), of 2025.1 (31.0.0) and of 2026.1 (33.0.0), of Train and of Ussuri.
const TRAIN: u16 = 73;
const USSURI: u16 = 80;
const V2024_1: u16 = 96;
const V2025_1: u16 = 97;
const V2026_1: u16 = 101;

pub(super) static CONDITIONS: &[Condition] = &[
    Condition {
        // nova/compute/api.py `block_accelerators`
        name: "an accelerator (accel:device_profile)",
        holds: |server, _| has_spec(server, "accel:device_profile"),
        live: Bar::Always("Nova moves no server with one"),
        cold: Bar::Always("Nova moves no server with one"),
        stop: Bar::No,
    },
    Condition {
        // nova/compute/api.py `reject_sev_instances`
        name: "encrypted memory (hw:mem_encryption)",
        holds: |server, _| is_true(server, "hw:mem_encryption", "hw_mem_encryption"),
        live: Bar::Always("encrypted memory cannot be copied while it runs"),
        cold: Bar::No,
        stop: Bar::No,
    },
    Condition {
        // doc/source/admin/emulated-tpm.rst, Limitations: the secret belongs to the server's owner
        name: "a virtual TPM (hw:tpm_version)",
        holds: |server, newest| has_tpm(server) && !matches!(tpm_secret(server, newest), Some("host" | "deployment")),
        live: Bar::Always("its secret is its owner's, and live migration needs one that the host keeps"),
        cold: Bar::WhileOn("its secret is its owner's, so an operator's request could not start it on the other host"),
        stop: Bar::WhileOn("its secret is its owner's, so an operator's request could not start it again"),
    },
    Condition {
        name: "a virtual TPM with its secret in the deployment",
        holds: |server, newest| has_tpm(server) && tpm_secret(server, newest) == Some("deployment"),
        live: Bar::Always("live migration needs a secret that the host keeps (hw:tpm_secret_security=host)"),
        cold: Bar::No,
        stop: Bar::No,
    },
    Condition {
        // nova/conductor/tasks/live_migrate.py `_check_can_migrate_pci`
        name: "a PCI device (pci_passthrough:alias)",
        holds: |server, _| has_spec(server, "pci_passthrough:alias"),
        live: Bar::Below(V2025_1, "such devices can be live-migrated from 2025.1 on"),
        cold: Bar::No,
        stop: Bar::No,
    },
    Condition {
        // releasenotes/notes/disable-live-migration-with-numa, `_check_instance_has_no_numa`
        name: "a NUMA topology or pinned CPUs (hw:numa_nodes, hw:cpu_policy, hw:mem_page_size, hw:cpu_realtime)",
        holds: |server, _| has_numa(server),
        live: Bar::Below(TRAIN, "before Train a live migration loses its pinning or is refused"),
        cold: Bar::No,
        stop: Bar::No,
    },
    Condition {
        // doc/source/admin/virtual-gpu.rst
        name: "a virtual GPU (resources:VGPU)",
        holds: |server, _| has_vgpu(server),
        live: Bar::Below(V2024_1, "a virtual GPU can be live-migrated from 2024.1 on"),
        cold: Bar::Below(USSURI, "a server with a virtual GPU can be cold-migrated from Ussuri on"),
        stop: Bar::No,
    },
];

/// Something that makes live migration doubtful without ruling it out: said in the plan, decided by Nova.
pub(super) struct Doubt {
    pub holds: fn(&Server, Microversion) -> bool,
    pub says: &'static str,
}

pub(super) static LIVE_DOUBTS: &[Doubt] = &[
    Doubt {
        // nova/virt/libvirt/driver.py pre_live_migration @12, @13: NoLiveMigrationForConfigDriveInLibVirt
        holds: |server, newest| server.config_drive && newest <= Microversion::v2(25),
        says: "it has a config drive, which Liberty and Mitaka live-migrate only in vfat or on shared storage",
    },
    Doubt {
        // nova/virt/libvirt/driver.py @12: "Cannot block migrate instance %s with mapped volumes"
        holds: |server, newest| {
            newest <= Microversion::v2(12) && !server.volumes.is_empty() && server.local_disk_gib() > 0
        },
        says: "it has volumes beside a local disk, which Liberty live-migrates only on shared storage",
    },
    Doubt {
        holds: |server, newest| has_spec(server, "pci_passthrough:alias") && newest >= Microversion::v2(V2025_1),
        says: "its PCI device can be live-migrated only if its alias says live_migratable",
    },
    Doubt {
        holds: |server, _| !server.flavor.known,
        says: "its flavor was deleted, so devices and pinning that forbid a live migration are not visible",
    },
];

fn spec<'a>(server: &'a Server, key: &str) -> Option<&'a str> {
    server.flavor.extra_specs.get(key).map(String::as_str)
}

fn has_spec(server: &Server, key: &str) -> bool {
    spec(server, key).is_some()
}

fn property<'a>(server: &'a Server, key: &str) -> Option<&'a str> {
    server.image_properties.as_ref()?.get(key).map(String::as_str)
}

/// oslo.utils strutils `TRUE_STRINGS`.
fn is_true(server: &Server, key: &str, image_key: &str) -> bool {
    [spec(server, key), property(server, image_key)].into_iter().flatten().any(|value| {
        let value = value.trim().to_ascii_lowercase();
        matches!(value.as_str(), "1" | "t" | "true" | "on" | "y" | "yes")
    })
}

fn has_tpm(server: &Server) -> bool {
    has_spec(server, "hw:tpm_version") || property(server, "hw_tpm_version").is_some()
}

/// Where the secret of the TPM is kept; releases before 2026.1 know only the owner's.
fn tpm_secret(server: &Server, newest: Microversion) -> Option<&str> {
    if newest < Microversion::v2(V2026_1) { None } else { spec(server, "hw:tpm_secret_security") }
}

fn has_numa(server: &Server) -> bool {
    let policy = [spec(server, "hw:cpu_policy"), property(server, "hw_cpu_policy")];
    has_spec(server, "hw:numa_nodes")
        || has_spec(server, "hw:mem_page_size")
        || property(server, "hw_numa_nodes").is_some()
        || property(server, "hw_mem_page_size").is_some()
        || policy.into_iter().flatten().any(|policy| policy != "shared")
        || is_true(server, "hw:cpu_realtime", "hw_cpu_realtime")
}

/// `resources:VGPU`, or in a numbered or named group of its own: `resources1:VGPU`, `resources_GPU:VGPU`.
fn has_vgpu(server: &Server) -> bool {
    server
        .flavor
        .extra_specs
        .keys()
        .any(|key| key.split_once(':').is_some_and(|(group, class)| group.starts_with("resources") && class == "VGPU"))
}
