//! Everything that is read: each list whole, in pages, its rows checked against the question.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::version::Pins;
use super::wire::{self, GroupRow, MigrationRow, OneAction, OneServer, ServerRow, has_next, newest_progress};
use super::{Nova, Reply, Request};
use crate::cloud::{
    Aggregate, CloudError, CloudErrorKind, ComputeService, Gap, Host, Hypervisor, Inventory, LiveProgress,
    Microversion, Migration, MigrationQuery, MigrationStatus, Reading, Refusal, Server, ServerGroup, ServerQuery,
    ServerStatus, ServiceStatus,
};

/// Servers asked for at once. Nova allows 1000 (`[api] max_limit`), but a page also asks Neutron for every port, and
/// proxies cut an answer that takes a minute.
const SERVERS_PAGE: usize = 500;
/// Rows of the lists that are cheap to make.
const ROWS_PAGE: usize = 1000;
/// A list that goes on behind this many pages is going round in circles; 500 000 servers are in no cell.
const PAGES_MAX: usize = 1000;
/// `os-server-groups` has no `next` link, and a page can be short only because `[api] max_limit` is. Nobody sets that
/// below this, so a first page shorter than this is the whole list.
const MAX_LIMIT_MIN: usize = 100;

/// What a migration record may be before it is terminal, for asking for each.
const UNFINISHED: [MigrationStatus; 11] = [
    MigrationStatus::Accepted,
    MigrationStatus::Queued,
    MigrationStatus::Preparing,
    MigrationStatus::Running,
    MigrationStatus::RunningPostCopy,
    MigrationStatus::PreMigrating,
    MigrationStatus::Migrating,
    MigrationStatus::PostMigrating,
    MigrationStatus::Finished,
    MigrationStatus::Confirming,
    MigrationStatus::Reverting,
];

impl Nova {
    pub(super) async fn read_services(&self, host: Option<&str>) -> Result<Reading<ComputeService>, CloudError> {
        let (services, reply): (wire::Services, _) = self
            .read(Pins::SERVICES, "listing services", |version| {
                let request = Request::get(version, ["os-services"]).with("binary", "nova-compute");
                host.iter().fold(request, |request, host| request.with("host", *host))
            })
            .await?;
        let rows = services.services.into_iter().filter(|row| row.binary == "nova-compute");
        let mut rows: Vec<ComputeService> =
            rows.filter(|row| host.is_none_or(|host| row.host == host)).map(ComputeService::from).collect();
        rows.sort_by(|a, b| a.host.cmp(&b.host));
        Ok(Reading { rows, at: reply.at })
    }

    /// Pages by a marker of ours: the address in a `next` link may be that of an inner host. `split` gives the rows and
    /// whether more follow, `marker` the id to go on behind.
    async fn pages<P: DeserializeOwned, R>(
        &self,
        pins: Pins,
        what: &'static str,
        make: impl Fn(Microversion) -> Request + Send + Sync,
        split: impl Fn(P) -> (Vec<R>, bool) + Send + Sync,
        marker: impl Fn(&R) -> Option<String> + Send + Sync,
    ) -> Result<Reading<R>, CloudError>
    where
        R: Send,
    {
        let mut rows = Vec::new();
        let mut seen = HashSet::new();
        let (mut at, mut behind): (Option<Timestamp>, Option<String>) = (None, None);
        for _ in 0..PAGES_MAX {
            let (request, reply) = self
                .call(pins, what, |version| {
                    let request = make(version);
                    Ok(behind.iter().fold(request, |request, marker| request.with("marker", marker.clone())))
                })
                .await?;
            at = at.or(Some(reply.at));
            let (page, more) = split(super::parse(&request, &reply)?);
            let last = page.last().and_then(&marker);
            // Rows appear and go while paging, so one may come twice.
            rows.extend(page.into_iter().filter(|row| marker(row).is_none_or(|id| seen.insert(id))));
            if !more || last.is_none() || last == behind {
                return Ok(Reading { rows, at: at.unwrap_or(reply.at) });
            }
            behind = last;
        }
        Err(CloudError {
            call: what.to_owned(),
            request_id: None,
            kind: CloudErrorKind::Protocol { what: format!("the list does not end after {PAGES_MAX} pages") },
        })
    }

    async fn read_hypervisors(&self) -> Result<Vec<(Option<String>, Hypervisor)>, CloudError> {
        let reading = self
            .pages(
                Pins::HYPERVISORS,
                "listing hypervisors",
                |version| {
                    let request = Request::get(version, ["os-hypervisors", "detail"]);
                    let pages = version >= Microversion::v2(33);
                    if pages { request.with("limit", ROWS_PAGE.to_string()) } else { request }
                },
                |page: wire::Hypervisors| (page.hypervisors, has_next(&page.hypervisors_links)),
                |row| Some(row.id.clone()),
            )
            .await?;
        let rows = reading.rows.into_iter();
        Ok(rows.map(|row| (row.host().map(str::to_owned), Hypervisor::from(row))).collect())
    }

    async fn read_aggregates(&self) -> Result<Vec<Aggregate>, CloudError> {
        let (aggregates, _): (wire::Aggregates, _) = self
            .read(Pins::AGGREGATES, "listing aggregates", |version| Request::get(version, ["os-aggregates"]))
            .await?;
        let mut rows: Vec<Aggregate> = aggregates.aggregates.into_iter().map(Aggregate::from).collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }

    pub(super) async fn read_groups(&self) -> Result<Vec<ServerGroup>, CloudError> {
        let mut groups: BTreeMap<String, ServerGroup> = BTreeMap::new();
        let mut offset = 0;
        for _ in 0..PAGES_MAX {
            let (page, _): (wire::Groups, _) = self
                .read(Pins::GROUPS, "listing server groups", |version| {
                    let request = Request::get(version, ["os-server-groups"]).with("all_projects", "true");
                    let request = request.with("limit", ROWS_PAGE.to_string());
                    if offset == 0 { request } else { request.with("offset", offset.to_string()) }
                })
                .await?;
            let rows: Vec<GroupRow> = page.server_groups;
            let count = rows.len();
            offset += count;
            groups.extend(rows.into_iter().map(|row| (row.id.clone(), ServerGroup::from(row))));
            if count < MAX_LIMIT_MIN {
                break;
            }
        }
        Ok(groups.into_values().collect())
    }

    /// Every server of every project; of one host, or changed since an instant, when asked for.
    pub(super) async fn read_servers(&self, query: Option<&ServerQuery>) -> Result<Reading<Server>, CloudError> {
        let make = |version| {
            let request = Request::get(version, ["servers", "detail"])
                .with("all_tenants", "1")
                .with("limit", SERVERS_PAGE.to_string())
                .with("sort_key", "created_at")
                .with("sort_dir", "asc");
            match query {
                None => request.with("soft_deleted", "1"),
                Some(ServerQuery::OnHost(host)) => request.with("soft_deleted", "1").with("host", host),
                Some(ServerQuery::ChangedSince(since)) => {
                    request.with("changes-since", since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
                }
            }
        };
        let split = |page: wire::Servers| (page.servers, has_next(&page.servers_links));
        let reading =
            self.pages(Pins::SERVERS, "listing servers", make, split, |row: &ServerRow| Some(row.id.clone())).await?;
        let mut rows = reading.rows;
        self.check_hosts_shown(&rows)?;
        if let Some(ServerQuery::OnHost(host)) = query {
            rows.retain(|row| row.status != "DELETED" && row.host.as_ref().and_then(Option::as_ref) == Some(host));
        }
        let mut rows = self.with_flavors(rows).await?;
        rows.sort_by(|a, b| (&a.host, &a.name, &a.id).cmp(&(&b.host, &b.name, &b.id)));
        Ok(Reading { rows, at: reading.at })
    }

    async fn with_flavors(&self, rows: Vec<ServerRow>) -> Result<Vec<Server>, CloudError> {
        let ids: HashSet<&str> = rows.iter().filter_map(ServerRow::flavor_id).collect();
        let flavors = self.flavors(&ids.into_iter().collect::<Vec<_>>()).await?;
        let found = |row: &ServerRow| row.flavor_id().and_then(|id| flavors.get(id)).cloned();
        Ok(rows
            .into_iter()
            .map(|row| {
                let flavor = found(&row);
                row.into_server(flavor)
            })
            .collect())
    }

    /// Nova drops filters silently for callers that are no administrators, and shows them no hosts: such an answer is
    /// some servers, and not those that were asked for.
    fn check_hosts_shown(&self, rows: &[ServerRow]) -> Result<(), CloudError> {
        let hidden = |row: &ServerRow| row.host.is_none() && row.status != "UNKNOWN";
        if !rows.iter().any(hidden) {
            return Ok(());
        }
        Err(CloudError {
            call: "GET /servers/detail".to_owned(),
            request_id: None,
            kind: CloudErrorKind::Protocol {
                what: format!(
                    "the servers come without OS-EXT-SRV-ATTR:host, so filters were dropped and the list proves \
                     nothing: the user of cloud `{}` is no administrator to Nova (rule `context_is_admin`)",
                    self.transport.config().name
                ),
            },
        })
    }

    pub(super) async fn read_server(&self, id: &str) -> Result<Option<Server>, CloudError> {
        let read = self.read(Pins::SERVERS, "reading a server", |version| Request::get(version, ["servers", id]));
        let Some((OneServer { server: row }, _)) = missing(read.await, id)? else { return Ok(None) };
        self.check_hosts_shown(std::slice::from_ref(&row))?;
        let server = self.with_flavors(vec![row]).await?.pop();
        Ok(server.filter(|server| server.status != ServerStatus::Deleted))
    }

    pub(super) async fn read_migrations(&self, query: &MigrationQuery) -> Result<Reading<Migration>, CloudError> {
        let mut reading = self.list_migrations(query, None).await?;
        let is_on = |row: &Migration, host: &str| {
            [&row.source_host, &row.dest_host].iter().any(|it| it.as_deref() == Some(host))
        };
        let changed = |row: &Migration| row.updated_at.or(row.created_at);
        reading.rows.retain(|row| {
            query.host.as_deref().is_none_or(|host| is_on(row, host))
                && query.server.as_deref().is_none_or(|server| row.server == server)
                // A row without times is kept: it is not known to be old.
                && query.changed_since.is_none_or(|since| changed(row).is_none_or(|at| at >= since))
        });
        if let Some(newest) = query.newest.and_then(|newest| usize::try_from(newest).ok()) {
            reading.rows.drain(..reading.rows.len().saturating_sub(newest));
        }
        Ok(reading)
    }

    /// In the order of their ids. `status` is a filter that only the inventory uses. `changes-since` compares
    /// `updated_at`, which a record has only from its first change on (db/main/api.py `migration_get_all_by_filters`): a
    /// record fresh in `accepted` is not among the changed ones.
    async fn list_migrations(
        &self,
        query: &MigrationQuery,
        status: Option<&MigrationStatus>,
    ) -> Result<Reading<Migration>, CloudError> {
        let make = |version| {
            let mut request = Request::get(version, ["os-migrations"]);
            for (key, value) in [("host", &query.host), ("instance_uuid", &query.server)] {
                request = value.iter().fold(request, |request, value| request.with(key, value.clone()));
            }
            if let Some(status) = status {
                request = request.with("status", status.as_str());
            }
            if version >= Microversion::v2(59) {
                // Newest first from 2.59, so the newest few are one short page.
                let newest = query.newest.and_then(|newest| usize::try_from(newest).ok());
                let limit = newest.unwrap_or(ROWS_PAGE).min(ROWS_PAGE);
                request = request.with("limit", limit.to_string());
                if let Some(since) = query.changed_since {
                    request = request.with("changes-since", since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
                }
            }
            request
        };
        let split =
            |page: wire::Migrations| (page.migrations, query.newest.is_none() && has_next(&page.migrations_links));
        let marker = |row: &MigrationRow| row.uuid.clone();
        let reading = self.pages(Pins::MIGRATIONS, "listing migrations", make, split, marker).await?;
        let mut rows: Vec<Migration> = reading.rows.into_iter().map(Migration::from).collect();
        rows.sort_by_key(|row| row.id);
        self.check_migration_hosts_shown(&rows)?;
        Ok(Reading { rows, at: reading.at })
    }

    /// From 2025.2 hosts are shown only with `os_compute_api:os-migrations:index:host`.
    fn check_migration_hosts_shown(&self, rows: &[Migration]) -> Result<(), CloudError> {
        let hidden = |row: &Migration| row.source_host.is_none() && row.dest_host.is_none();
        if rows.is_empty() || !rows.iter().all(hidden) {
            return Ok(());
        }
        Err(CloudError {
            call: "GET /os-migrations".to_owned(),
            request_id: None,
            kind: CloudErrorKind::Protocol {
                what: "the migrations come without hosts: this user lacks the policy \
                       os_compute_api:os-migrations:index:host"
                    .to_owned(),
            },
        })
    }

    /// All migrations that are not over. The history may be endless, so when it does not fit one page it is asked for by
    /// status, which is a bounded number of requests.
    pub(super) async fn unfinished_migrations(&self) -> Result<Vec<Migration>, CloudError> {
        let (page, _): (wire::Migrations, _) = self
            .read(Pins::MIGRATIONS, "listing migrations", |version| {
                let request = Request::get(version, ["os-migrations"]);
                if version >= Microversion::v2(59) { request.with("limit", ROWS_PAGE.to_string()) } else { request }
            })
            .await?;
        let more = has_next(&page.migrations_links);
        let mut rows: BTreeMap<u64, Migration> = BTreeMap::new();
        if more {
            for status in &UNFINISHED {
                let reading = self.list_migrations(&MigrationQuery::default(), Some(status)).await?;
                rows.extend(reading.rows.into_iter().map(|row| (row.id, row)));
            }
        } else {
            rows.extend(page.migrations.into_iter().map(Migration::from).map(|row| (row.id, row)));
        }
        let rows: Vec<Migration> = rows.into_values().filter(|row| !row.status.is_terminal()).collect();
        self.check_migration_hosts_shown(&rows)?;
        Ok(rows)
    }

    pub(super) async fn read_live_progress(&self, server: &str) -> Result<Option<LiveProgress>, CloudError> {
        if !self.offer.capabilities().live_progress() {
            return Ok(None);
        }
        let read = self.read(Pins::SERVER_MIGRATIONS, "reading a live migration's progress", |version| {
            Request::get(version, ["servers", server, "migrations"])
        });
        let read: Option<(wire::ServerMigrations, Reply)> = missing(read.await, server)?;
        Ok(read.and_then(|(migrations, _)| newest_progress(migrations.migrations)))
    }

    pub(super) async fn read_action_fault(&self, server: &str, request_id: &str) -> Result<Option<String>, CloudError> {
        let read = self.read(Pins::ACTIONS, "reading an instance action", |version| {
            Request::get(version, ["servers", server, "os-instance-actions", request_id])
        });
        match read.await {
            Ok((OneAction { action }, _)) => Ok(action.fault()),
            Err(error) if error.refusal() == Some(Refusal::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Eight requests on most clouds, the token and the discovery of [`Nova::connect`] among them.
    pub(super) async fn read_inventory(&self) -> Result<Inventory, CloudError> {
        // First and alone: without it nothing else is of use, and its clock is the beginning.
        let services = self.read_services(None).await?;
        let (hypervisors, aggregates, groups, servers, migrations) = tokio::join!(
            self.read_hypervisors(),
            self.read_aggregates(),
            self.read_groups(),
            self.read_servers(None),
            self.unfinished_migrations(),
        );
        let mut gaps = Vec::new();
        let hypervisors = or_gap(hypervisors, "hypervisors", &mut gaps)?;
        let aggregates = or_gap(aggregates, "aggregates", &mut gaps)?;
        let groups = or_gap(groups, "server groups", &mut gaps)?;
        let migrations = or_gap(migrations, "migrations", &mut gaps)?;
        let servers = occupying(servers?.rows, &mut gaps);
        let hosts = hosts(services.rows, hypervisors, &aggregates, &mut gaps);
        let capabilities = self.offer.capabilities();
        Ok(Inventory { read_at: services.at, capabilities, hosts, servers, groups, aggregates, migrations, gaps })
    }
}

/// `None` when Nova itself says that this id does not exist, and an error for every other 404.
fn missing<T>(read: Result<T, CloudError>, id: &str) -> Result<Option<T>, CloudError> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(CloudError { kind: CloudErrorKind::Refused { refusal: Refusal::NotFound, message, .. }, .. })
            if message.contains(id) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What may not be read is said to be missing.
fn or_gap<T>(read: Result<Vec<T>, CloudError>, what: &str, gaps: &mut Vec<Gap>) -> Result<Vec<T>, CloudError> {
    match read {
        Ok(rows) => Ok(rows),
        Err(error) if error.refusal() == Some(Refusal::Forbidden) => {
            gaps.push(Gap { what: what.to_owned(), host: None, why: error.to_string() });
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// The servers that are on a host or may come to one; those in a cell that is down are named as missing.
fn occupying(servers: Vec<Server>, gaps: &mut Vec<Gap>) -> Vec<Server> {
    let mut kept = Vec::with_capacity(servers.len());
    for server in servers {
        match server.status {
            ServerStatus::Deleted => {}
            ServerStatus::Unknown => {
                gaps.push(Gap {
                    what: format!("server {}", server.id),
                    host: server.host.clone(),
                    why: "its status is UNKNOWN: its cell does not answer".to_owned(),
                });
                if server.host.is_some() {
                    kept.push(server);
                }
            }
            // Without a host: being built, or on its way to one (unshelving).
            _ if server.host.is_some() || server.status == ServerStatus::Build || server.task_state.is_some() => {
                kept.push(server);
            }
            _ => {}
        }
    }
    kept
}

fn hosts(
    services: Vec<ComputeService>,
    hypervisors: Vec<(Option<String>, Hypervisor)>,
    aggregates: &[Aggregate],
    gaps: &mut Vec<Gap>,
) -> Vec<Host> {
    let mut of_host: BTreeMap<String, Vec<Hypervisor>> = BTreeMap::new();
    for (host, hypervisor) in hypervisors {
        match host {
            Some(host) => of_host.entry(host).or_default().push(hypervisor),
            None => gaps.push(Gap {
                what: format!("the compute service of hypervisor {}", hypervisor.hostname),
                host: None,
                why: "its row names none".to_owned(),
            }),
        }
    }
    let mut hosts = Vec::with_capacity(services.len());
    for service in services {
        if service.status == ServiceStatus::Unknown {
            gaps.push(Gap {
                what: format!("everything on host {}", service.host),
                host: Some(service.host.clone()),
                why: "its service is UNKNOWN: its cell does not answer, and lists pass its servers over".to_owned(),
            });
        }
        let aggregates = aggregates.iter().filter(|aggregate| aggregate.hosts.contains(&service.host));
        hosts.push(Host {
            name: service.host.clone(),
            hypervisors: of_host.remove(&service.host).unwrap_or_default(),
            aggregates: aggregates.map(|aggregate| aggregate.name.clone()).collect(),
            service,
        });
    }
    hosts
}
