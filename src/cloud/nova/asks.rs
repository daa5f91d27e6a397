//! Everything that changes the cloud, as requests. Bodies are those of the schemas in
//! nova/api/openstack/compute/schemas at the microversion they are sent with.

use reqwest::Method;
use serde_json::{Value, json};

use super::version::Pins;
use super::{Nova, Request};
use crate::cloud::{Accepted, Ask, BlockMigration, CloudError, CloudErrorKind, Microversion, Refusal};

impl Nova {
    pub(super) async fn send_ask(&self, ask: &Ask) -> Result<Accepted, CloudError> {
        match ask {
            Ask::DisableService { host, service_id, reason } => {
                self.set_service(host, service_id, "disabled", Some(reason.as_str())).await
            }
            Ask::EnableService { host, service_id } => self.set_service(host, service_id, "enabled", None).await,
            Ask::LiveMigrate { server, host, block_migration } => {
                self.live_migrate(server, host.as_deref(), *block_migration).await
            }
            Ask::ColdMigrate { server, host } => self.cold_migrate(server, host.as_deref()).await,
            Ask::ConfirmResize { server } => self.act(server, "confirmResize").await,
            Ask::RevertResize { server } => self.act(server, "revertResize").await,
            Ask::Stop { server } => self.act(server, "os-stop").await,
            Ask::Start { server } => self.act(server, "os-start").await,
            Ask::AbortMigration { server, migration_id } => self.abort(server, *migration_id).await,
        }
    }

    async fn change(
        &self,
        pins: Pins,
        what: &'static str,
        make: impl Fn(Microversion) -> Result<Request, CloudError> + Send + Sync,
    ) -> Result<Accepted, CloudError> {
        let (_, reply) = self.call(pins, what, make).await?;
        Ok(Accepted { request_id: reply.request_id })
    }

    async fn set_service(
        &self,
        host: &str,
        service_id: &str,
        status: &str,
        reason: Option<&str>,
    ) -> Result<Accepted, CloudError> {
        let reason = reason.filter(|reason| !reason.is_empty());
        self.change(Pins::SERVICES, "setting a compute service", |version| {
            let (last, mut body) = if version >= Microversion::v2(53) {
                (service_id, json!({ "status": status }))
            } else {
                let word = match (status, reason) {
                    ("enabled", _) => "enable",
                    (_, None) => "disable",
                    (_, Some(_)) => "disable-log-reason",
                };
                (word, json!({ "host": host, "binary": "nova-compute" }))
            };
            if let (Some(reason), Some(body)) = (reason, body.as_object_mut()) {
                body.insert("disabled_reason".to_owned(), json!(reason));
            }
            let request = Request::get(version, ["os-services", last]);
            Ok(Request { method: Method::PUT, body: Some(body), ..request })
        })
        .await
    }

    async fn act(&self, server: &str, action: &'static str) -> Result<Accepted, CloudError> {
        self.change(Pins::PLAIN, action, |version| Ok(action_of(version, server, action, Value::Null))).await
    }

    async fn cold_migrate(&self, server: &str, host: Option<&str>) -> Result<Accepted, CloudError> {
        self.change(Pins::COLD, "a cold migration", |version| {
            let to = match host {
                None => Value::Null,
                Some(host) if version >= Microversion::v2(56) => json!({ "host": host }),
                Some(_) => return Err(self.needs("a cold migration to a chosen host", Microversion::v2(56))),
            };
            Ok(action_of(version, server, "migrate", to))
        })
        .await
    }

    /// Below 2.25 there is no `auto`. Then shared storage is tried first, which is what it would find on most clouds,
    /// and block migration only when that was refused: below 2.34 the storage is checked before the answer, so a
    /// refusal changed nothing. With the scheduler choosing the host, a host whose storage does not fit is passed over
    /// and the refusal is "No valid host" (conductor/tasks/live_migrate.py `_find_destination`).
    async fn live_migrate(
        &self,
        server: &str,
        host: Option<&str>,
        block_migration: BlockMigration,
    ) -> Result<Accepted, CloudError> {
        let newest = self.offer.newest();
        if block_migration != BlockMigration::Auto || newest >= Microversion::v2(25) {
            return self.live_migrate_once(server, host, block_migration).await;
        }
        match self.live_migrate_once(server, host, BlockMigration::Never).await {
            Err(error) if wants_block_migration(&error) => {
                self.live_migrate_once(server, host, BlockMigration::Always).await
            }
            other => other,
        }
    }

    async fn live_migrate_once(
        &self,
        server: &str,
        host: Option<&str>,
        block_migration: BlockMigration,
    ) -> Result<Accepted, CloudError> {
        self.change(Pins::LIVE, "a live migration", |version| {
            if host.is_some() && version < Microversion::v2(30) {
                return Err(self.needs("a live migration to a chosen host", Microversion::v2(30)));
            }
            let block = match block_migration {
                BlockMigration::Always => json!(true),
                BlockMigration::Never => json!(false),
                BlockMigration::Auto if version >= Microversion::v2(25) => json!("auto"),
                BlockMigration::Auto => return Err(self.needs("block_migration: auto", Microversion::v2(25))),
            };
            let mut body = json!({ "host": host, "block_migration": block });
            if let Some(body) = body.as_object_mut() {
                if version < Microversion::v2(25) {
                    body.insert("disk_over_commit".to_owned(), json!(false));
                }
                if host.is_some() && version < Microversion::v2(68) {
                    body.insert("force".to_owned(), json!(false));
                }
            }
            Ok(action_of(version, server, "os-migrateLive", body))
        })
        .await
    }

    async fn abort(&self, server: &str, migration_id: u64) -> Result<Accepted, CloudError> {
        let id = migration_id.to_string();
        self.change(Pins::ABORT, "aborting a live migration", |version| {
            let request = Request::get(version, ["servers", server, "migrations", &id]);
            Ok(Request { method: Method::DELETE, ..request })
        })
        .await
    }
}

fn action_of(version: Microversion, server: &str, action: &str, argument: Value) -> Request {
    let body = Value::Object([(action.to_owned(), argument)].into_iter().collect());
    let request = Request::get(version, ["servers", server, "action"]);
    // Each of them goes on in Nova after the answer, and then acts on volumes and ports with this token.
    Request { method: Method::POST, body: Some(body), long: true, ..request }
}

fn wants_block_migration(error: &CloudError) -> bool {
    match &error.kind {
        CloudErrorKind::Refused { status: 400, refusal: Refusal::NoValidHost, .. } => true,
        CloudErrorKind::Refused { status: 400, message, .. } => message.contains("is not on shared storage"),
        _ => false,
    }
}
