//! A real cloud: Keystone v3 and the compute API, Liberty (2.12) to the newest.
//!
//! ```text
//! config ──► http (one token, what may be sent again) ──► calls (negotiated per call) ──► wire (rows) ──► our types
//! ```
//!
//! Deliberately absent: the other services, polling (a caller decides when to look), and any state but the token, the
//! microversion on offer and the flavors of old releases.

mod asks;
mod config;
mod fault;
mod flavors;
mod http;
mod keystone;
mod readings;
mod session;
mod version;
mod wire;

#[cfg(test)]
mod tests;

pub use config::{ApplicationCredential, CloudConfig, Credentials, Domain, Environment, Identity, Pem, Scope, Tls};

use async_trait::async_trait;
use serde::de::DeserializeOwned;

use super::{
    Accepted, Ask, Capabilities, Cloud, CloudError, CloudErrorKind, ComputeService, Inventory, LiveProgress,
    Microversion, Migration, MigrationQuery, Reading, Server, ServerQuery,
};
use flavors::Flavors;
use http::{Reply, Request, Timing, Transport};
use version::{Offer, Pins, VersionDocument, offered_by_406};

/// One region of one OpenStack cloud, as one user.
#[derive(Debug)]
pub struct Nova {
    transport: Transport,
    offer: Offer,
    flavors: Flavors,
}

impl Nova {
    /// Gets a token and asks what the compute API offers: two requests, and every mistake in the configuration shows.
    pub async fn connect(config: CloudConfig) -> Result<Self, CloudError> {
        Self::connect_with(config, Timing::default()).await
    }

    async fn connect_with(config: CloudConfig, timing: Timing) -> Result<Self, CloudError> {
        let transport = Transport::new(config, timing)?;
        let request = Request { version: None, ..Request::get(version::OLDEST, []) };
        let reply = transport.send(&request).await?;
        let document: VersionDocument = parse(&request, &reply)?;
        let newest = document.newest().map_err(|kind| because(&request, &reply, kind))?;
        tracing::debug!(cloud = transport.config().name, %newest, "connected");
        Ok(Self { transport, offer: Offer::new(newest), flavors: Flavors::default() })
    }

    /// Makes a call with the newest microversion that both sides know; once more when a server that is older than the
    /// one that was asked first refuses it with 406, which it does before acting.
    async fn call(
        &self,
        pins: Pins,
        what: &'static str,
        make: impl Fn(Microversion) -> Result<Request, CloudError> + Send + Sync,
    ) -> Result<(Request, Reply), CloudError> {
        let mut renegotiated = false;
        loop {
            let newest = self.offer.newest();
            let request = make(pins.choose(newest).ok_or_else(|| self.too_old(pins, what))?)?;
            match self.transport.send(&request).await {
                Ok(reply) => {
                    check_version(&request, &reply)?;
                    return Ok((request, reply));
                }
                Err(CloudError { kind: CloudErrorKind::Refused { status: 406, message, .. }, .. })
                    if !renegotiated && offered_by_406(&message).is_some_and(|offered| offered < newest) =>
                {
                    renegotiated = true;
                    if let Some(offered) = offered_by_406(&message) {
                        tracing::warn!(%newest, %offered, "the compute API offers less than before");
                        self.offer.shrink_to(offered);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A reading, parsed.
    async fn read<T: DeserializeOwned>(
        &self,
        pins: Pins,
        what: &'static str,
        make: impl Fn(Microversion) -> Request + Send + Sync,
    ) -> Result<(T, Reply), CloudError> {
        let (request, reply) = self.call(pins, what, |version| Ok(make(version))).await?;
        Ok((parse(&request, &reply)?, reply))
    }

    fn too_old(&self, pins: Pins, what: &'static str) -> CloudError {
        let needs = pins.0.last().copied().unwrap_or(1);
        self.needs(what, Microversion::v2(needs))
    }

    fn needs(&self, what: &'static str, needs: Microversion) -> CloudError {
        let has = self.offer.newest().to_string();
        CloudError {
            call: format!("cloud `{}`", self.name()),
            request_id: None,
            kind: CloudErrorKind::TooOld { what, needs: needs.to_string(), has },
        }
    }
}

fn because(request: &Request, reply: &Reply, kind: CloudErrorKind) -> CloudError {
    CloudError { call: request.name(), request_id: reply.request_id.clone(), kind }
}

fn parse<T: DeserializeOwned>(request: &Request, reply: &Reply) -> Result<T, CloudError> {
    let mut json = serde_json::Deserializer::from_slice(&reply.body);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let what = format!("{} at `{}`", error.inner(), error.path());
        because(request, reply, CloudErrorKind::Protocol { what })
    })
}

/// A service that spoke another microversion than it was asked for is not the compute API v2.1, or a proxy drops the
/// header: its rows would be read with the wrong meaning.
fn check_version(request: &Request, reply: &Reply) -> Result<(), CloudError> {
    let Some(asked) = request.version.map(|version| version.to_string()) else { return Ok(()) };
    if reply.version.as_ref() == Some(&asked) {
        return Ok(());
    }
    let spoke = reply.version.as_deref().unwrap_or("none");
    if request.body.is_some() || request.method == reqwest::Method::DELETE {
        // It was done all the same; to call it failed would be the greater lie.
        tracing::warn!(call = request.name(), asked, spoke, "accepted in another microversion than asked for");
        return Ok(());
    }
    let what = format!(
        "asked for microversion {asked}, answered in {spoke}; the endpoint is not the compute API v2.1, or a proxy \
         drops its headers"
    );
    Err(because(request, reply, CloudErrorKind::Protocol { what }))
}

#[async_trait]
impl Cloud for Nova {
    fn name(&self) -> &str {
        &self.transport.config().name
    }

    fn capabilities(&self) -> Capabilities {
        self.offer.capabilities()
    }

    fn requests_sent(&self) -> u64 {
        self.transport.requests_sent()
    }

    async fn inventory(&self) -> Result<Inventory, CloudError> {
        self.read_inventory().await
    }

    async fn services(&self, host: Option<&str>) -> Result<Vec<ComputeService>, CloudError> {
        Ok(self.read_services(host).await?.rows)
    }

    async fn servers(&self, query: &ServerQuery) -> Result<Reading<Server>, CloudError> {
        self.read_servers(Some(query)).await
    }

    async fn server(&self, id: &str) -> Result<Option<Server>, CloudError> {
        self.read_server(id).await
    }

    async fn migrations(&self, query: &MigrationQuery) -> Result<Reading<Migration>, CloudError> {
        self.read_migrations(query).await
    }

    async fn live_progress(&self, server: &str) -> Result<Option<LiveProgress>, CloudError> {
        self.read_live_progress(server).await
    }

    async fn action_fault(&self, server: &str, request_id: &str) -> Result<Option<String>, CloudError> {
        self.read_action_fault(server, request_id).await
    }

    async fn ask(&self, ask: &Ask) -> Result<Accepted, CloudError> {
        self.send_ask(ask).await
    }
}
