//! Which cloud, as whom, and how to trust it: clouds.yaml, secure.yaml, clouds-public.yaml and `OS_*`, by the rules of
//! openstacksdk (openstack/config/loader.py, vendors.py, cloud_region.py).
//!
//! A pure function of an [`Environment`]: this room reads no variable, no home directory and no file by itself.
//! Certificates are read here too, so that connecting needs no disk.
//!
//! Deliberately different from openstacksdk: a file that cannot be parsed is an error and not skipped, because the next
//! file in the search list may hold another cloud of the same name. Deliberately absent: vendor profiles that ship with
//! openstacksdk or are fetched over HTTPS, Keystone v2, federation, and one-time passwords (an automatic run outlives
//! them); a ready token (`v3token`) stands in for those.

mod files;
mod resolve;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use crate::cloud::{CloudError, CloudErrorKind};

/// What the process was started with, handed in by the one room that may look.
pub struct Environment<'a> {
    /// The environment variables; only `OS_*`, `XDG_CONFIG_HOME`, `XDG_CONFIG_DIRS` and `SNAP_REAL_HOME` are used.
    pub vars: BTreeMap<String, String>,
    pub home: Option<PathBuf>,
    pub working_dir: PathBuf,
    /// Reads a whole file.
    pub read: &'a dyn Fn(&Path) -> std::io::Result<Vec<u8>>,
}

impl fmt::Debug for Environment<'_> {
    /// Names only: `OS_PASSWORD` is among the variables.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("vars", &self.vars.keys())
            .field("home", &self.home)
            .field("working_dir", &self.working_dir)
            .finish_non_exhaustive()
    }
}

/// Everything needed to reach one cloud. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct CloudConfig {
    /// The name of the clouds.yaml entry, or `envvars`.
    pub name: String,
    /// The identity service, without a version and without a trailing slash.
    pub auth_url: Url,
    pub credentials: Credentials,
    pub scope: Scope,
    pub region: Option<String>,
    /// Catalog interfaces in the order of preference.
    pub interfaces: Vec<String>,
    /// `compute_endpoint_override`: used instead of the catalog.
    pub compute_endpoint: Option<Url>,
    pub tls: Tls,
    /// `api_timeout`.
    pub timeout: Option<Duration>,
    /// What was found and is not used, or is used and should not be; for a person to read.
    pub warnings: Vec<String>,
}

/// How to get a token.
#[derive(Debug, Clone)]
pub enum Credentials {
    Password { user: Identity, password: SecretString },
    Token(SecretString),
    ApplicationCredential { which: ApplicationCredential, secret: SecretString },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationCredential {
    Id(String),
    /// A name is unique only within a user.
    Named {
        name: String,
        user: Identity,
    },
}

/// A user or a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    Id(String),
    Named { name: String, domain: Domain },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domain {
    Id(String),
    Name(String),
}

/// What the token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    Project(Identity),
    Domain(Domain),
    System,
    /// Left to Keystone: the user's default project, or the project baked into an application credential.
    Unsaid,
}

/// How to trust the cloud.
#[derive(Debug, Clone)]
pub struct Tls {
    /// False only when the cloud's own entry says so (`verify: false`, `insecure: true`).
    pub verify: bool,
    /// `cacert`, trusted besides the system's authorities.
    pub ca: Option<Pem>,
    /// `cert` and `key`, concatenated.
    pub identity: Option<Pem>,
}

/// The content of a PEM file.
#[derive(Debug, Clone)]
pub struct Pem {
    pub path: PathBuf,
    pub content: SecretString,
}

impl CloudConfig {
    /// Finds the cloud of this name; without one, the cloud that `OS_CLOUD`, the `OS_*` variables or a file with a
    /// single cloud imply.
    pub fn load(cloud: Option<&str>, environment: &Environment<'_>) -> Result<Self, CloudError> {
        let sources = files::Sources::read(environment)?;
        resolve::resolve(cloud, &sources, environment)
    }

    /// The names that [`CloudConfig::load`] would accept.
    pub fn names(environment: &Environment<'_>) -> Result<Vec<String>, CloudError> {
        Ok(files::Sources::read(environment)?.names())
    }
}

fn wrong(message: impl Into<String>) -> CloudError {
    CloudError {
        call: "the cloud's configuration".to_owned(),
        request_id: None,
        kind: CloudErrorKind::Config { message: message.into() },
    }
}
