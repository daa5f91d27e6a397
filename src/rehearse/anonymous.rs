//! A cloud with every name in it replaced, so that its shape can be shown to somebody who must not know whose it is.
//!
//! The same name becomes the same replacement wherever it stands, and replacements sort as the originals did: the
//! compiler takes hosts and servers in the order of their names. What is kept is Nova's own vocabulary (states, policies,
//! kinds), sizes, counts, times, and of flavors' and images' properties those by which a server's method is decided.
//!
//! What cannot survive: keys of metadata and tags that a plan selects by, names that a plan's globs match, and texts
//! written by people (faults, reasons, gaps).

use std::collections::{BTreeMap, BTreeSet};

use crate::cloud::{Aggregate, Flavor, Gap, Host, Hypervisor, Inventory, Migration, Server, ServerGroup};
use crate::compile::{disabled_reason, run_of_reason};

/// Properties of flavors and images that decide how a server can be moved (see `compile::conditions`).
const KEPT_KEYS: [&str; 16] = [
    "accel:device_profile",
    "hw:mem_encryption",
    "hw:tpm_version",
    "hw:tpm_model",
    "hw:tpm_secret_security",
    "hw:numa_nodes",
    "hw:cpu_policy",
    "hw:mem_page_size",
    "hw:cpu_realtime",
    "pci_passthrough:alias",
    "hw_mem_encryption",
    "hw_tpm_version",
    "hw_numa_nodes",
    "hw_mem_page_size",
    "hw_cpu_policy",
    "hw_cpu_realtime",
];

/// Their values that are words of Nova's; numbers are kept too, and anything else is a name of the cloud's own.
const KEPT_WORDS: [&str; 23] = [
    "t",
    "true",
    "on",
    "y",
    "yes",
    "f",
    "false",
    "off",
    "n",
    "no",
    "shared",
    "dedicated",
    "mixed",
    "small",
    "large",
    "any",
    "1.2",
    "2.0",
    "tpm-tis",
    "tpm-crb",
    "user",
    "host",
    "deployment",
];

/// The names of one kind, each with what it becomes.
#[derive(Debug, Default)]
struct Names {
    known: BTreeMap<String, String>,
}

impl Names {
    /// Numbered in the order of the originals, as wide as the largest number, so that they sort alike.
    fn new<'a>(originals: impl IntoIterator<Item = &'a str>, name: impl Fn(usize, usize) -> String) -> Self {
        let originals: BTreeSet<&str> = originals.into_iter().collect();
        let digits = originals.len().to_string().len();
        let numbered = originals.into_iter().zip(1..);
        Self { known: numbered.map(|(original, number)| (original.to_owned(), name(number, digits))).collect() }
    }

    fn words<'a>(originals: impl IntoIterator<Item = &'a str>, word: &str) -> Self {
        Self::new(originals, |number, digits| format!("{word}-{number:0digits$}"))
    }

    /// Ids keep the look of a uuid: people are shown the first group of it.
    fn ids<'a>(originals: impl IntoIterator<Item = &'a str>, kind: u16) -> Self {
        Self::new(originals, |number, _| format!("{number:08x}-a{kind:03x}-4000-8000-000000000000"))
    }

    /// Every name of the inventory is known; one that is not could only be left out.
    fn of(&self, original: &str) -> String {
        self.known.get(original).cloned().unwrap_or_default()
    }

    fn of_option(&self, original: Option<&str>) -> Option<String> {
        original.map(|original| self.of(original))
    }

    fn of_all(&self, originals: &[String]) -> Vec<String> {
        originals.iter().map(|original| self.of(original)).collect()
    }
}

/// All names of a cloud.
struct Directory {
    hosts: Names,
    nodes: Names,
    zones: Names,
    services: Names,
    hypervisors: Names,
    servers: Names,
    server_names: Names,
    projects: Names,
    flavors: Names,
    images: Names,
    volumes: Names,
    groups: Names,
    group_names: Names,
    aggregates: Names,
    keys: Names,
    values: Names,
    tags: Names,
}

/// The inventory with every name replaced.
pub fn anonymous(inventory: &Inventory) -> Inventory {
    let directory = Directory::of(inventory);
    Inventory {
        read_at: inventory.read_at,
        capabilities: inventory.capabilities,
        hosts: inventory.hosts.iter().map(|host| directory.host(host)).collect(),
        servers: inventory.servers.iter().map(|server| directory.server(server)).collect(),
        groups: inventory.groups.iter().map(|group| directory.group(group)).collect(),
        aggregates: inventory.aggregates.iter().map(|aggregate| directory.aggregate(aggregate)).collect(),
        migrations: inventory.migrations.iter().map(|migration| directory.migration(migration)).collect(),
        gaps: inventory.gaps.iter().zip(1..).map(|(gap, number)| directory.gap(gap, number)).collect(),
    }
}

impl Directory {
    fn of(inventory: &Inventory) -> Self {
        let Inventory { hosts, servers, groups, aggregates, migrations, gaps, .. } = inventory;
        let host_names = hosts
            .iter()
            .flat_map(|host| [host.name.as_str(), &host.service.host])
            .chain(servers.iter().filter_map(|server| server.host.as_deref()))
            .chain(aggregates.iter().flat_map(|aggregate| aggregate.hosts.iter().map(String::as_str)))
            .chain(migrations.iter().flat_map(|row| [row.source_host.as_deref(), row.dest_host.as_deref()]).flatten())
            .chain(gaps.iter().filter_map(|gap| gap.host.as_deref()));
        let zones = hosts
            .iter()
            .map(|host| host.service.zone.as_str())
            .chain(servers.iter().flat_map(|row| [row.zone.as_deref(), row.pinned_zone.as_deref()]).flatten())
            .chain(aggregates.iter().filter_map(|aggregate| aggregate.zone.as_deref()));
        let server_ids = servers
            .iter()
            .map(|server| server.id.as_str())
            .chain(groups.iter().flat_map(|group| group.members.iter().map(String::as_str)))
            .chain(migrations.iter().map(|row| row.server.as_str()));
        let aggregate_names = aggregates
            .iter()
            .map(|aggregate| aggregate.name.as_str())
            .chain(hosts.iter().flat_map(|host| host.aggregates.iter().map(String::as_str)));
        let maps = || {
            let of_servers = servers.iter().flat_map(|server| {
                [Some(&server.metadata), server.image_properties.as_ref(), Some(&server.flavor.extra_specs)]
            });
            of_servers.flatten().chain(aggregates.iter().map(|aggregate| &aggregate.metadata))
        };
        let rows = || hosts.iter().flat_map(|host| &host.hypervisors);
        Self {
            hosts: Names::words(host_names, "host"),
            nodes: Names::words(rows().map(|row| row.hostname.as_str()), "node"),
            zones: Names::words(zones, "zone"),
            services: Names::ids(hosts.iter().map(|host| host.service.id.as_str()), 1),
            hypervisors: Names::ids(rows().map(|row| row.id.as_str()), 2),
            servers: Names::ids(server_ids, 3),
            server_names: Names::words(servers.iter().map(|server| server.name.as_str()), "server"),
            projects: Names::words(servers.iter().map(|server| server.project_id.as_str()), "project"),
            flavors: Names::words(servers.iter().map(|server| server.flavor.name.as_str()), "flavor"),
            images: Names::ids(servers.iter().filter_map(|server| server.image.as_deref()), 4),
            volumes: Names::ids(servers.iter().flat_map(|server| server.volumes.iter().map(String::as_str)), 5),
            groups: Names::ids(groups.iter().map(|group| group.id.as_str()), 6),
            group_names: Names::words(groups.iter().map(|group| group.name.as_str()), "group"),
            aggregates: Names::words(aggregate_names, "aggregate"),
            keys: Names::words(maps().flat_map(|map| map.keys().map(String::as_str)), "key"),
            values: Names::words(maps().flat_map(|map| map.values().map(String::as_str)), "value"),
            tags: Names::words(servers.iter().flat_map(|server| server.tags.iter().map(String::as_str)), "tag"),
        }
    }

    fn host(&self, host: &Host) -> Host {
        let mut service = host.service.clone();
        service.id = self.services.of(&service.id);
        service.host = self.hosts.of(&service.host);
        service.zone = self.zones.of(&service.zone);
        // Whether a run holds it decides what may be done; the run's id is furlough's own word, the plan's name is not.
        service.disabled_reason = service.disabled_reason.map(|reason| match run_of_reason(&reason) {
            Some(run) if is_run_id(run) => disabled_reason(run, "a plan"),
            Some(_) => disabled_reason("19700101-0000-0000", "a plan"),
            None if reason.is_empty() => String::new(),
            None => "a reason".to_owned(),
        });
        Host {
            name: self.hosts.of(&host.name),
            service,
            hypervisors: host.hypervisors.iter().map(|row| self.hypervisor(row)).collect(),
            aggregates: self.aggregates.of_all(&host.aggregates),
        }
    }

    fn hypervisor(&self, row: &Hypervisor) -> Hypervisor {
        Hypervisor { id: self.hypervisors.of(&row.id), hostname: self.nodes.of(&row.hostname), ..row.clone() }
    }

    fn server(&self, server: &Server) -> Server {
        Server {
            id: self.servers.of(&server.id),
            name: self.server_names.of(&server.name),
            project_id: self.projects.of(&server.project_id),
            host: self.hosts.of_option(server.host.as_deref()),
            zone: self.zones.of_option(server.zone.as_deref()),
            pinned_zone: self.zones.of_option(server.pinned_zone.as_deref()),
            flavor: Flavor {
                name: self.flavors.of(&server.flavor.name),
                extra_specs: self.properties(&server.flavor.extra_specs),
                ..server.flavor.clone()
            },
            image: self.images.of_option(server.image.as_deref()),
            image_properties: server.image_properties.as_ref().map(|map| self.properties(map)),
            metadata: self.metadata(&server.metadata),
            tags: self.tags.of_all(&server.tags),
            volumes: self.volumes.of_all(&server.volumes),
            fault: server.fault.as_ref().map(|_| "a fault".to_owned()),
            ..server.clone()
        }
    }

    fn group(&self, group: &ServerGroup) -> ServerGroup {
        ServerGroup {
            id: self.groups.of(&group.id),
            name: self.group_names.of(&group.name),
            members: self.servers.of_all(&group.members),
            ..group.clone()
        }
    }

    fn aggregate(&self, aggregate: &Aggregate) -> Aggregate {
        Aggregate {
            name: self.aggregates.of(&aggregate.name),
            zone: self.zones.of_option(aggregate.zone.as_deref()),
            hosts: self.hosts.of_all(&aggregate.hosts),
            metadata: self.metadata(&aggregate.metadata),
        }
    }

    fn migration(&self, row: &Migration) -> Migration {
        Migration {
            server: self.servers.of(&row.server),
            source_host: self.hosts.of_option(row.source_host.as_deref()),
            dest_host: self.hosts.of_option(row.dest_host.as_deref()),
            ..row.clone()
        }
    }

    /// That something could not be seen, and of which host, is part of the shape; the words name cells and services.
    fn gap(&self, gap: &Gap, number: usize) -> Gap {
        Gap {
            what: format!("part {number}"),
            host: self.hosts.of_option(gap.host.as_deref()),
            why: "the reason is not in an anonymous snapshot".to_owned(),
        }
    }

    fn metadata(&self, map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        map.iter().map(|(key, value)| (self.keys.of(key), self.values.of(value))).collect()
    }

    fn properties(&self, map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        map.iter().map(|(key, value)| (self.property(key), self.property_value(key, value))).collect()
    }

    /// `resources_GPU:VGPU` is a virtual GPU whatever its group is called.
    fn property(&self, key: &str) -> String {
        if KEPT_KEYS.contains(&key) {
            return key.to_owned();
        }
        match key.split_once(':') {
            Some((group, class)) if group.starts_with("resources") && class == "VGPU" => {
                let group = self.keys.of(key);
                format!("resources_{group}:VGPU")
            }
            _ => self.keys.of(key),
        }
    }

    fn property_value(&self, key: &str, value: &str) -> String {
        let word = value.trim().to_ascii_lowercase();
        let number = !word.is_empty() && word.len() <= 6 && word.bytes().all(|byte| byte.is_ascii_digit());
        let kept = KEPT_KEYS.contains(&key) && (KEPT_WORDS.contains(&word.as_str()) || number);
        if kept { value.to_owned() } else { self.values.of(value) }
    }
}

/// Date, time and four hex digits: how furlough names runs.
fn is_run_id(run: &str) -> bool {
    let shape: String = run.chars().map(|c| if c.is_ascii_hexdigit() { '0' } else { c }).collect();
    shape == "00000000-0000-0000"
}
