//! Keystone v3: the request for a token, and what its answer says (keystone api-ref `authenticate-v3.inc`).
//!
//! Deliberately absent: v2.0 (v3 is on every Keystone since Kilo), federation, and revoking tokens (it would end
//! operations that Nova still does with them).

use std::time::Duration;

use jiff::Timestamp;
use reqwest::Url;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{ApplicationCredential, CloudConfig, Credentials, Domain, Identity, Scope};
use crate::cloud::CloudErrorKind;

/// The body of `POST /v3/auth/tokens`. It holds the secret: it is built for the request and dropped with it.
pub(super) fn token_request(credentials: &Credentials, scope: &Scope) -> Value {
    let identity = match credentials {
        Credentials::Password { user, password } => {
            let mut user = named(user);
            if let Some(user) = user.as_object_mut() {
                user.insert("password".to_owned(), json!(password.expose_secret()));
            }
            json!({ "methods": ["password"], "password": { "user": user } })
        }
        Credentials::Token(token) => json!({ "methods": ["token"], "token": { "id": token.expose_secret() } }),
        Credentials::ApplicationCredential { which, secret } => {
            let credential = match which {
                ApplicationCredential::Id(id) => json!({ "id": id, "secret": secret.expose_secret() }),
                ApplicationCredential::Named { name, user } => {
                    json!({ "name": name, "secret": secret.expose_secret(), "user": named(user) })
                }
            };
            json!({ "methods": ["application_credential"], "application_credential": credential })
        }
    };
    let scope = match scope {
        Scope::Project(project) => json!({ "project": named(project) }),
        Scope::Domain(domain) => json!({ "domain": in_domain(domain) }),
        Scope::System => json!({ "system": { "all": true } }),
        Scope::Unsaid => return json!({ "auth": { "identity": identity } }),
    };
    json!({ "auth": { "identity": identity, "scope": scope } })
}

fn named(identity: &Identity) -> Value {
    match identity {
        Identity::Id(id) => json!({ "id": id }),
        Identity::Named { name, domain } => json!({ "name": name, "domain": in_domain(domain) }),
    }
}

fn in_domain(domain: &Domain) -> Value {
    match domain {
        Domain::Id(id) => json!({ "id": id }),
        Domain::Name(name) => json!({ "name": name }),
    }
}

/// The secret of these credentials, for keeping it out of messages.
pub(super) fn secret(credentials: &Credentials) -> &str {
    match credentials {
        Credentials::Password { password, .. } => password.expose_secret(),
        Credentials::Token(token) => token.expose_secret(),
        Credentials::ApplicationCredential { secret, .. } => secret.expose_secret(),
    }
}

/// The body of the answer; the token itself is in the header `X-Subject-Token`.
#[derive(Debug, Deserialize)]
pub(super) struct TokenAnswer {
    token: TokenRow,
}

#[derive(Debug, Deserialize)]
struct TokenRow {
    expires_at: Option<Timestamp>,
    #[serde(default)]
    catalog: Vec<CatalogService>,
}

#[derive(Debug, Deserialize)]
struct CatalogService {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    endpoints: Vec<CatalogEndpoint>,
}

#[derive(Debug, Deserialize)]
struct CatalogEndpoint {
    #[serde(default)]
    interface: String,
    region: Option<String>,
    region_id: Option<String>,
    #[serde(default)]
    url: String,
}

impl CatalogEndpoint {
    fn is_in(&self, region: &str) -> bool {
        self.region.as_deref() == Some(region) || self.region_id.as_deref() == Some(region)
    }
}

impl TokenAnswer {
    /// How long the token lives from `now`, the cloud's own clock at the answer.
    pub(super) fn life(&self, now: Timestamp) -> Option<Duration> {
        let life = self.token.expires_at?.duration_since(now);
        Some(Duration::try_from(life).unwrap_or(Duration::ZERO))
    }

    /// The compute API: the override, or the catalog's first endpoint of the first interface that has one
    /// (keystoneauth1 `access/service_catalog.py`), with `/v2.1` for its version.
    pub(super) fn compute(&self, config: &CloudConfig) -> Result<Url, CloudErrorKind> {
        if let Some(url) = &config.compute_endpoint {
            return Ok(with_version(url.clone()));
        }
        let endpoints: Vec<_> = self
            .token
            .catalog
            .iter()
            .filter(|service| service.kind == "compute")
            .flat_map(|service| &service.endpoints)
            .filter(|endpoint| !endpoint.url.is_empty())
            .collect();
        let in_region = |endpoint: &CatalogEndpoint| config.region.as_deref().is_none_or(|it| endpoint.is_in(it));
        let found = config.interfaces.iter().find_map(|interface| {
            // Catalogs of Keystone v2 days say `publicURL`.
            let same = |endpoint: &&&CatalogEndpoint| endpoint.interface.trim_end_matches("URL") == interface;
            endpoints.iter().filter(same).find(|endpoint| in_region(endpoint))
        });
        let Some(found) = found else {
            return Err(CloudErrorKind::Config { message: self.no_endpoint(config, &endpoints) });
        };
        let url = Url::parse(&found.url).map_err(|error| CloudErrorKind::Config {
            message: format!("the catalog's compute endpoint `{}` is not a URL: {error}", found.url),
        })?;
        Ok(with_version(url))
    }

    fn no_endpoint(&self, config: &CloudConfig, endpoints: &[&CatalogEndpoint]) -> String {
        let wanted = match &config.region {
            Some(region) => format!("interface {} in region `{region}`", config.interfaces.join(" or ")),
            None => format!("interface {}", config.interfaces.join(" or ")),
        };
        if self.token.catalog.is_empty() {
            return format!(
                "the token of cloud `{}` comes without a service catalog: give a project (`project_name`), or \
                 `compute_endpoint_override`",
                config.name
            );
        }
        let mut known: Vec<_> = endpoints
            .iter()
            .map(|endpoint| {
                format!("{} in `{}`", endpoint.interface, endpoint.region.as_deref().unwrap_or("no region"))
            })
            .collect();
        known.sort();
        known.dedup();
        let known = if known.is_empty() { "no compute service at all".to_owned() } else { known.join(", ") };
        format!("the catalog of cloud `{}` has no compute endpoint for {wanted}; it has {known}", config.name)
    }
}

/// Replaces the version segment and keeps everything around it: a path prefix before, and behind it the project id,
/// without which no URL works below 2.18. `/v2` would ignore microversions (api/openstack/__init__.py
/// `LegacyV2CompatibleWrapper`).
fn with_version(mut url: Url) -> Url {
    url.set_query(None);
    url.set_fragment(None);
    let mut segments: Vec<String> = url.path().split('/').filter(|it| !it.is_empty()).map(str::to_owned).collect();
    match segments.iter_mut().find(|segment| matches!(segment.as_str(), "v2" | "v2.0" | "v2.1")) {
        Some(version) => "v2.1".clone_into(version),
        None => segments.push("v2.1".to_owned()),
    }
    url.set_path(&segments.join("/"));
    url
}

/// The version document of a compute endpoint: the path up to and with `v2.1`, and the slash it answers at.
pub(super) fn version_url(endpoint: &Url) -> Url {
    let mut url = endpoint.clone();
    let path = url.path().to_owned();
    let end = path.find("/v2.1").map_or(path.len(), |start| start + "/v2.1".len());
    url.set_path(&format!("{}/", path.get(..end).unwrap_or(&path)));
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_an_endpoint_is_replaced_and_the_rest_kept() {
        for (endpoint, expected, document) in [
            ("http://h:8774/v2.1", "http://h:8774/v2.1", "http://h:8774/v2.1/"),
            ("http://h:8774/v2.1/", "http://h:8774/v2.1", "http://h:8774/v2.1/"),
            ("http://h:8774/v2.1/abc", "http://h:8774/v2.1/abc", "http://h:8774/v2.1/"),
            ("http://h:8774/v2/abc", "http://h:8774/v2.1/abc", "http://h:8774/v2.1/"),
            ("https://h/compute/v2.1", "https://h/compute/v2.1", "https://h/compute/v2.1/"),
            ("https://h/compute", "https://h/compute/v2.1", "https://h/compute/v2.1/"),
            ("https://h", "https://h/v2.1", "https://h/v2.1/"),
        ] {
            let url = with_version(Url::parse(endpoint).unwrap());
            assert_eq!(url.as_str(), expected);
            assert_eq!(version_url(&url).as_str(), document);
        }
    }
}
