//! Rows as Nova sends them, release by release, and their meaning in our types. Unknown fields are passed over, missing
//! ones are `None`: a row is refused only when it lacks what makes it a row.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::cloud::{
    Aggregate, ComputeService, Flavor, GroupPolicy, Hypervisor, LiveProgress, Migration, MigrationKind,
    MigrationStatus, PowerState, Server, ServerGroup, ServerStatus, ServiceState, ServiceStatus,
};

/// `2026-01-01T00:00:00Z` and `2026-01-01T00:00:00.000000`, which is UTC too.
pub(super) fn timestamp(text: &str) -> Option<Timestamp> {
    let zoneless = || text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse::<Timestamp>().ok().or_else(|| Some(zoneless()?.timestamp()))
}

fn time(text: Option<&String>) -> Option<Timestamp> {
    timestamp(text?)
}

/// An id that is a number on old releases and a string on new ones.
fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(serde::de::Error::custom(format!("an id must be a string or a number, not `{other}`"))),
    }
}

/// A count that may be null, or negative where a host is over-committed.
fn count(value: Option<i64>) -> Option<u64> {
    value.map(|value| u64::try_from(value).unwrap_or(0))
}

/// Tells a key that is null from one that is absent.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Extra specs and properties are text; a number among them is shown as one.
fn texts(map: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    map.into_iter().map(|(key, value)| (key, text(value))).collect()
}

#[derive(Debug, Deserialize)]
pub(super) struct Services {
    pub services: Vec<ServiceRow>,
}

/// A row of `os-services`. From 2.69 the rows of a down cell have only binary, host and status.
#[derive(Debug, Deserialize)]
pub(super) struct ServiceRow {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    pub binary: String,
    pub host: String,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    disabled_reason: Option<String>,
    #[serde(default)]
    forced_down: Option<bool>,
    #[serde(default)]
    updated_at: Option<String>,
}

impl From<ServiceRow> for ComputeService {
    fn from(row: ServiceRow) -> Self {
        Self {
            id: match row.id {
                Some(Value::String(id)) => id,
                Some(Value::Number(id)) => id.to_string(),
                _ => String::new(),
            },
            host: row.host,
            zone: row.zone.unwrap_or_default(),
            status: match row.status.as_deref() {
                Some("enabled") => ServiceStatus::Enabled,
                Some("disabled") => ServiceStatus::Disabled,
                _ => ServiceStatus::Unknown,
            },
            state: match row.state.as_deref() {
                Some("up") => ServiceState::Up,
                Some("down") => ServiceState::Down,
                _ => ServiceState::Unknown,
            },
            disabled_reason: row.disabled_reason.filter(|reason| !reason.is_empty()),
            forced_down: row.forced_down,
            updated_at: time(row.updated_at.as_ref()),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Hypervisors {
    pub hypervisors: Vec<HypervisorRow>,
    #[serde(default)]
    pub hypervisors_links: Vec<Link>,
}

/// A link; only whether there is a `next` is of use, since its address may be that of an inner host.
#[derive(Debug, Deserialize)]
pub(super) struct Link {
    #[serde(default)]
    rel: String,
}

pub(super) fn has_next(links: &[Link]) -> bool {
    links.iter().any(|link| link.rel == "next")
}

/// A row of `os-hypervisors/detail` at 2.87 or below.
#[derive(Debug, Deserialize)]
pub(super) struct HypervisorRow {
    #[serde(deserialize_with = "id")]
    pub id: String,
    hypervisor_hostname: String,
    #[serde(default)]
    hypervisor_type: Option<String>,
    #[serde(default)]
    hypervisor_version: Option<i64>,
    #[serde(default)]
    service: Option<HypervisorService>,
    #[serde(default)]
    vcpus: Option<i64>,
    #[serde(default)]
    vcpus_used: Option<i64>,
    #[serde(default)]
    memory_mb: Option<i64>,
    #[serde(default)]
    memory_mb_used: Option<i64>,
    #[serde(default)]
    local_gb: Option<i64>,
    #[serde(default)]
    local_gb_used: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct HypervisorService {
    #[serde(default)]
    host: String,
}

impl HypervisorRow {
    /// The compute host it belongs to.
    pub(super) fn host(&self) -> Option<&str> {
        self.service.as_ref().map(|service| service.host.as_str())
    }
}

impl From<HypervisorRow> for Hypervisor {
    fn from(row: HypervisorRow) -> Self {
        Self {
            id: row.id,
            hostname: row.hypervisor_hostname,
            kind: row.hypervisor_type.unwrap_or_default(),
            version: count(row.hypervisor_version),
            vcpus: count(row.vcpus),
            vcpus_used: count(row.vcpus_used),
            memory_mib: count(row.memory_mb),
            memory_used_mib: count(row.memory_mb_used),
            disk_gib: count(row.local_gb),
            disk_used_gib: count(row.local_gb_used),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Aggregates {
    pub aggregates: Vec<AggregateRow>,
}

#[derive(Debug, Deserialize)]
pub(super) struct AggregateRow {
    name: String,
    #[serde(default)]
    availability_zone: Option<String>,
    #[serde(default)]
    hosts: Option<Vec<String>>,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Value>>,
}

impl From<AggregateRow> for Aggregate {
    fn from(row: AggregateRow) -> Self {
        Self {
            name: row.name,
            zone: row.availability_zone,
            hosts: row.hosts.unwrap_or_default(),
            metadata: texts(row.metadata.unwrap_or_default()),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Groups {
    pub server_groups: Vec<GroupRow>,
}

/// `policies` below 2.64, `policy` and `rules` from there.
#[derive(Debug, Deserialize)]
pub(super) struct GroupRow {
    pub id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    policy: Option<String>,
    #[serde(default)]
    policies: Option<Vec<String>>,
    #[serde(default)]
    rules: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    members: Option<Vec<String>>,
}

impl From<GroupRow> for ServerGroup {
    fn from(row: GroupRow) -> Self {
        let policy = row.policy.or_else(|| row.policies?.into_iter().next()).unwrap_or_default();
        let most = row.rules.as_ref().and_then(|rules| rules.get("max_server_per_host"));
        let most = most.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        Self {
            id: row.id,
            name: row.name,
            policy: match policy.as_str() {
                "affinity" => GroupPolicy::Affinity,
                "anti-affinity" => GroupPolicy::AntiAffinity,
                "soft-affinity" => GroupPolicy::SoftAffinity,
                "soft-anti-affinity" => GroupPolicy::SoftAntiAffinity,
                _ => GroupPolicy::Other(policy),
            },
            max_server_per_host: most.unwrap_or(1),
            members: row.members.unwrap_or_default(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Servers {
    pub servers: Vec<ServerRow>,
    #[serde(default)]
    pub servers_links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneServer {
    pub server: ServerRow,
}

/// A row of `servers/detail`. From 2.69 the rows of a down cell lack almost everything.
#[derive(Debug, Deserialize)]
pub(super) struct ServerRow {
    pub id: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    tenant_id: Option<String>,
    pub status: String,
    #[serde(rename = "OS-EXT-STS:vm_state", default)]
    vm_state: Option<String>,
    #[serde(rename = "OS-EXT-STS:task_state", default)]
    task_state: Option<String>,
    #[serde(rename = "OS-EXT-STS:power_state", default)]
    power_state: Option<i64>,
    /// Absent for callers who are no administrators, null for a server that is nowhere.
    #[serde(rename = "OS-EXT-SRV-ATTR:host", default, deserialize_with = "present")]
    pub host: Option<Option<String>>,
    #[serde(rename = "OS-EXT-AZ:availability_zone", default)]
    zone: Option<String>,
    #[serde(default)]
    pinned_availability_zone: Option<String>,
    #[serde(default)]
    flavor: Option<FlavorRef>,
    /// `""` for boot from volume.
    #[serde(default)]
    image: Value,
    #[serde(default)]
    metadata: Option<BTreeMap<String, Value>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    #[serde(default)]
    locked: Option<bool>,
    #[serde(default)]
    config_drive: Value,
    #[serde(rename = "os-extended-volumes:volumes_attached", default)]
    volumes: Option<Vec<VolumeRow>>,
    #[serde(default)]
    fault: Option<FaultRow>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    updated: Option<String>,
}

#[derive(Debug, Deserialize)]
struct VolumeRow {
    id: String,
}

#[derive(Debug, Deserialize)]
struct FaultRow {
    #[serde(default)]
    message: String,
}

/// The flavor of a server: a reference below 2.47, itself (and without an id) from there.
#[derive(Debug, Deserialize)]
struct FlavorRef {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    original_name: Option<String>,
    #[serde(default)]
    vcpus: Option<u64>,
    #[serde(default)]
    ram: Option<u64>,
    #[serde(default)]
    disk: Option<u64>,
    #[serde(default)]
    ephemeral: Option<u64>,
    #[serde(default)]
    swap: Value,
    #[serde(default)]
    extra_specs: Option<BTreeMap<String, Value>>,
}

impl FlavorRef {
    fn embedded(self) -> Flavor {
        Flavor {
            name: self.original_name.unwrap_or_default(),
            vcpus: self.vcpus.unwrap_or(0),
            memory_mib: self.ram.unwrap_or(0),
            root_gib: self.disk.unwrap_or(0),
            ephemeral_gib: self.ephemeral.unwrap_or(0),
            swap_mib: self.swap.as_u64().unwrap_or(0),
            extra_specs: texts(self.extra_specs.unwrap_or_default()),
            known: true,
        }
    }
}

impl ServerRow {
    /// The id of the flavor, where it is only referred to.
    pub(super) fn flavor_id(&self) -> Option<&str> {
        self.flavor.as_ref().filter(|flavor| flavor.vcpus.is_none())?.id.as_deref()
    }

    /// With the flavor that was looked up, where it is only referred to.
    pub(super) fn into_server(self, looked_up: Option<Flavor>) -> Server {
        let (image, image_properties) = image(&self.image);
        let flavor = match self.flavor {
            Some(flavor) if flavor.vcpus.is_some() => flavor.embedded(),
            Some(flavor) => {
                looked_up.unwrap_or_else(|| Flavor { name: flavor.id.unwrap_or_default(), ..Flavor::default() })
            }
            None => Flavor::default(),
        };
        Server {
            name: self.name.unwrap_or_else(|| self.id.clone()),
            id: self.id,
            project_id: self.tenant_id.unwrap_or_default(),
            status: ServerStatus::from(self.status),
            vm_state: self.vm_state.unwrap_or_default(),
            task_state: self.task_state,
            power_state: match self.power_state {
                Some(0) => PowerState::NoState,
                Some(1) => PowerState::Running,
                Some(3) => PowerState::Paused,
                Some(4) => PowerState::Shutdown,
                Some(6) => PowerState::Crashed,
                Some(7) => PowerState::Suspended,
                _ => PowerState::Unknown,
            },
            host: self.host.flatten().filter(|host| !host.is_empty()),
            zone: self.zone.filter(|zone| !zone.is_empty()),
            pinned_zone: self.pinned_availability_zone,
            flavor,
            image,
            image_properties,
            metadata: texts(self.metadata.unwrap_or_default()),
            tags: self.tags.unwrap_or_default(),
            locked: self.locked,
            config_drive: matches!(&self.config_drive, Value::Bool(true))
                || self.config_drive.as_str().is_some_and(|text| text.eq_ignore_ascii_case("true")),
            volumes: self.volumes.unwrap_or_default().into_iter().map(|volume| volume.id).collect(),
            fault: self.fault.map(|fault| fault.message).filter(|message| !message.is_empty()),
            created_at: time(self.created.as_ref()),
            updated_at: time(self.updated.as_ref()),
        }
    }
}

fn image(value: &Value) -> (Option<String>, Option<BTreeMap<String, String>>) {
    let id = value.get("id").and_then(Value::as_str).map(str::to_owned);
    let properties = value.get("properties").and_then(Value::as_object);
    let properties = properties.map(|map| texts(map.iter().map(|(k, v)| (k.clone(), v.clone())).collect()));
    (id, properties)
}

#[derive(Debug, Deserialize)]
pub(super) struct Flavors {
    pub flavors: Vec<FlavorRow>,
    #[serde(default)]
    pub flavors_links: Vec<Link>,
}

/// A row of `flavors/detail` at 2.1. `swap` is `""` for none below 2.75.
#[derive(Debug, Deserialize)]
pub(super) struct FlavorRow {
    #[serde(deserialize_with = "id")]
    pub id: String,
    name: String,
    #[serde(default)]
    vcpus: u64,
    #[serde(default)]
    ram: u64,
    #[serde(default)]
    disk: u64,
    #[serde(rename = "OS-FLV-EXT-DATA:ephemeral", default)]
    ephemeral: u64,
    #[serde(default)]
    swap: Value,
}

impl From<FlavorRow> for Flavor {
    fn from(row: FlavorRow) -> Self {
        Self {
            name: row.name,
            vcpus: row.vcpus,
            memory_mib: row.ram,
            root_gib: row.disk,
            ephemeral_gib: row.ephemeral,
            swap_mib: row.swap.as_u64().or_else(|| row.swap.as_str()?.parse().ok()).unwrap_or(0),
            extra_specs: BTreeMap::new(),
            known: true,
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ExtraSpecs {
    #[serde(default)]
    extra_specs: BTreeMap<String, Value>,
}

impl ExtraSpecs {
    pub(super) fn into_texts(self) -> BTreeMap<String, String> {
        texts(self.extra_specs)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Migrations {
    pub migrations: Vec<MigrationRow>,
    #[serde(default)]
    pub migrations_links: Vec<Link>,
}

#[derive(Debug, Deserialize)]
pub(super) struct MigrationRow {
    id: u64,
    /// The marker of paging (2.59).
    #[serde(default)]
    pub uuid: Option<String>,
    #[serde(default)]
    instance_uuid: Option<String>,
    #[serde(default)]
    migration_type: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    source_compute: Option<String>,
    #[serde(default)]
    dest_compute: Option<String>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    updated_at: Option<String>,
}

impl From<MigrationRow> for Migration {
    fn from(row: MigrationRow) -> Self {
        Self {
            id: row.id,
            server: row.instance_uuid.unwrap_or_default(),
            kind: row.migration_type.map(MigrationKind::from),
            status: MigrationStatus::from(row.status.unwrap_or_default()),
            source_host: row.source_compute,
            dest_host: row.dest_compute,
            created_at: time(row.created_at.as_ref()),
            updated_at: time(row.updated_at.as_ref()),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerMigrations {
    pub migrations: Vec<ServerMigrationRow>,
}

/// A row of `servers/{id}/migrations` (2.23).
#[derive(Debug, Deserialize)]
pub(super) struct ServerMigrationRow {
    pub id: u64,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    memory_total_bytes: Option<i64>,
    #[serde(default)]
    memory_remaining_bytes: Option<i64>,
    #[serde(default)]
    disk_total_bytes: Option<i64>,
    #[serde(default)]
    disk_remaining_bytes: Option<i64>,
}

impl From<ServerMigrationRow> for LiveProgress {
    fn from(row: ServerMigrationRow) -> Self {
        Self {
            migration_id: row.id,
            status: MigrationStatus::from(row.status.unwrap_or_default()),
            memory_total_bytes: count(row.memory_total_bytes),
            memory_remaining_bytes: count(row.memory_remaining_bytes),
            disk_total_bytes: count(row.disk_total_bytes),
            disk_remaining_bytes: count(row.disk_remaining_bytes),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OneAction {
    #[serde(rename = "instanceAction")]
    pub action: ActionRow,
}

/// An instance action with its events. `message` is `Error` once any event failed, and stays.
#[derive(Debug, Deserialize)]
pub(super) struct ActionRow {
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    events: Vec<EventRow>,
}

#[derive(Debug, Deserialize)]
struct EventRow {
    #[serde(default)]
    event: String,
    #[serde(default)]
    result: Option<String>,
    #[serde(default)]
    start_time: Option<String>,
    /// The exception's text (2.84).
    #[serde(default)]
    details: Option<String>,
    #[serde(default)]
    traceback: Option<String>,
}

impl ActionRow {
    /// The text of the newest event that failed. Below 2.84 there is only its stack (`traceback.format_tb`), whose last
    /// line is the statement that raised.
    pub(super) fn fault(&self) -> Option<String> {
        // Nova lists the newest first, and times have seconds only: of equals the first one counts.
        let failed = self.events.iter().rev().filter(|event| event.result.as_deref() == Some("Error"));
        let newest = failed.max_by_key(|event| (time(event.start_time.as_ref()), event.words().is_some()));
        match newest {
            Some(event) => event.words().or_else(|| Some(format!("{} failed", event.event))),
            None => self.message.clone().filter(|message| !message.is_empty()),
        }
    }
}

impl EventRow {
    fn words(&self) -> Option<String> {
        if let Some(details) = self.details.as_deref().map(str::trim).filter(|details| !details.is_empty()) {
            return Some(details.to_owned());
        }
        let last = self.traceback.as_deref()?.lines().map(str::trim).rfind(|line| {
            // Python 3.11 underlines the statement with carets.
            !line.is_empty() && !line.chars().all(|c| matches!(c, '^' | '~'))
        })?;
        Some(format!("{}: {last}", self.event))
    }
}

/// The newest of several rows that Nova shows at once, which happens when one has just ended.
pub(super) fn newest_progress(rows: Vec<ServerMigrationRow>) -> Option<LiveProgress> {
    rows.into_iter().max_by_key(|row| row.id).map(LiveProgress::from)
}
