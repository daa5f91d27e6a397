//! From the merged keys of one cloud to a [`CloudConfig`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::files::{Node, Sources, Tree, expand, merge};
use super::{ApplicationCredential, CloudConfig, Credentials, Domain, Environment, Identity, Pem, Scope, Tls, wrong};
use crate::cloud::CloudError;

/// What may stand in `auth`, or outside of it and then wins (keystoneauth plugins' options).
const AUTH_KEYS: [&str; 23] = [
    "auth_url",
    "username",
    "user_name",
    "user_id",
    "password",
    "project_name",
    "project_id",
    "tenant_name",
    "tenant_id",
    "user_domain_name",
    "user_domain_id",
    "project_domain_name",
    "project_domain_id",
    "domain_name",
    "domain_id",
    "system_scope",
    "application_credential_id",
    "application_credential_name",
    "application_credential_secret",
    "token",
    "auth_token",
    "passcode",
    "trust_id",
];
/// Keys that change what other clients do and that this one has no use for.
const IGNORED_KEYS: [&str; 4] = ["compute_api_version", "compute_default_microversion", "force_ipv4", "passcode"];
/// One slip in this many letters still makes a name the one that was meant; a slip in a short name always does.
const LETTERS_PER_SLIP: usize = 3;

pub(super) fn resolve(
    cloud: Option<&str>,
    sources: &Sources,
    environment: &Environment<'_>,
) -> Result<CloudConfig, CloudError> {
    let mut warnings = sources.warnings.clone();
    let (name, tree) = choose(cloud, sources, environment, &mut warnings)?;
    let place = if sources.clouds.contains_key(&name) {
        format!("cloud `{name}` of {}", sources.shown_path())
    } else {
        format!("cloud `{name}` of the OS_* variables")
    };
    Resolver { name, place, tree, environment, warnings }.finish()
}

fn choose(
    cloud: Option<&str>,
    sources: &Sources,
    environment: &Environment<'_>,
    warnings: &mut Vec<String>,
) -> Result<(String, Tree), CloudError> {
    let os_cloud = environment.vars.get("OS_CLOUD").map(String::as_str).filter(|name| !name.is_empty());
    let named = cloud.or(os_cloud);
    if let Some((env_name, tree)) = &sources.env_cloud {
        match named {
            None => return Ok((env_name.clone(), tree.clone())),
            Some(name) if name == env_name => return Ok((env_name.clone(), tree.clone())),
            Some(name) if tree.contains_key("auth_url") => warnings.push(format!(
                "the OS_* variables describe a cloud too and are not used, because cloud `{name}` was chosen by name"
            )),
            Some(_) => {}
        }
    }
    let name = match named {
        Some(name) => name.to_owned(),
        None => only_cloud(sources)?,
    };
    let Some(entry) = sources.clouds.get(&name) else {
        return Err(unknown_cloud(&name, sources));
    };
    let mut tree = with_profile(&name, entry, sources, warnings);
    let asked = environment.vars.get("OS_REGION_NAME").map(String::as_str).filter(|region| !region.is_empty());
    choose_region(&name, &mut tree, asked, sources)?;
    Ok((name, tree))
}

fn only_cloud(sources: &Sources) -> Result<String, CloudError> {
    let mut names = sources.clouds.keys();
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name.clone()),
        (Some(_), Some(_)) => Err(wrong(format!(
            "{} has several clouds ({}); choose one with --cloud or OS_CLOUD",
            sources.shown_path(),
            list(sources.clouds.keys())
        ))),
        _ => Err(no_cloud(sources)),
    }
}

fn no_cloud(sources: &Sources) -> CloudError {
    let at = match &sources.path {
        Some(path) => format!("{} has no clouds", path.display()),
        None => {
            // A file named in OS_CLIENT_CONFIG_FILE may have any name.
            let usual = |path: &Path| path.file_stem().is_some_and(|stem| stem == "clouds");
            let place = |path: &'_ PathBuf| match path.parent().filter(|_| usual(path)) {
                Some(folder) => folder.display().to_string(),
                None => path.display().to_string(),
            };
            let mut places: Vec<String> = sources.searched.iter().map(place).collect();
            places.dedup();
            format!("no clouds.yaml, .yml or .json was found in {}", list(places))
        }
    };
    wrong(format!("{at}, and OS_AUTH_URL is not set"))
}

fn unknown_cloud(name: &str, sources: &Sources) -> CloudError {
    let names = sources.names();
    if names.is_empty() {
        return wrong(format!("cloud `{name}` is not known: {}", no_cloud(sources).kind));
    }
    let hint = nearest(name, names.iter().map(String::as_str));
    let hint = hint.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    wrong(format!("cloud `{name}` is not in {} (which has {}){hint}", sources.shown_path(), list(&names)))
}

fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|name| (strsim::damerau_levenshtein(wanted, name), name))
        .filter(|(slips, name)| *slips <= (name.chars().count() / LETTERS_PER_SLIP).max(1))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, name)| name)
}

fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// The profile is the base, the cloud goes over it. `cloud:` is the old name of the key.
fn with_profile(name: &str, entry: &Tree, sources: &Sources, warnings: &mut Vec<String>) -> Tree {
    let profile = entry.get("profile").or_else(|| entry.get("cloud")).and_then(Node::text);
    let Some(profile) = profile.filter(|profile| *profile != name) else { return entry.clone() };
    let Some(base) = sources.profiles.get(profile) else {
        warnings.push(format!(
            "profile `{profile}` of cloud `{name}` is in no clouds-public.yaml and is not used; the profiles that ship \
             with openstacksdk are not built in"
        ));
        return entry.clone();
    };
    let mut tree = base.clone();
    merge(&mut tree, entry.clone());
    tree
}

/// Puts the region in use under `region_name`, with the values that the entry gives it.
fn choose_region(name: &str, tree: &mut Tree, asked: Option<&str>, sources: &Sources) -> Result<(), CloudError> {
    let mut known: Vec<(String, Tree)> = Vec::new();
    match (tree.get("regions"), tree.get("region_name")) {
        (Some(Node::List(regions)), _) => {
            for region in regions {
                match region {
                    Node::Text(region) => known.push((region.clone(), Tree::new())),
                    Node::Map(map) => {
                        let region = map.get("name").and_then(Node::text).ok_or_else(|| {
                            wrong(format!("{}: a region of cloud `{name}` has no `name`", sources.shown_path()))
                        })?;
                        let values = match map.get("values") {
                            Some(Node::Map(values)) => values.clone(),
                            _ => Tree::new(),
                        };
                        known.push((region.to_owned(), values));
                    }
                    _ => {}
                }
            }
        }
        (_, Some(Node::Text(region))) => known.push((region.clone(), Tree::new())),
        _ => {}
    }
    let preset = tree.get("region_name").and_then(Node::text).map(str::to_owned);
    let wanted = asked.map(str::to_owned).or(preset);
    let chosen = match (&wanted, known.is_empty()) {
        (Some(region), true) => Some((region.clone(), Tree::new())),
        (Some(region), false) => Some(known.iter().find(|(name, _)| name == region).cloned().ok_or_else(|| {
            wrong(format!(
                "region `{region}` is not one of cloud `{name}` in {}; it has {}",
                sources.shown_path(),
                list(known.iter().map(|(region, _)| region))
            ))
        })?),
        (None, _) => known.first().cloned(),
    };
    if let Some((region, values)) = chosen {
        merge(tree, values);
        tree.insert("region_name".to_owned(), Node::Text(region));
    }
    Ok(())
}

/// One cloud on its way from keys to meaning.
struct Resolver<'a> {
    name: String,
    /// How to name it in a message.
    place: String,
    tree: Tree,
    environment: &'a Environment<'a>,
    warnings: Vec<String>,
}

impl Resolver<'_> {
    fn finish(mut self) -> Result<CloudConfig, CloudError> {
        let auth = self.auth()?;
        let kind = self.auth_type(&auth);
        let auth_url = self.auth_url(&auth)?;
        let credentials = self.credentials(&auth, &kind)?;
        let scope = self.scope(&auth, &credentials)?;
        let tls = self.tls()?;
        for key in IGNORED_KEYS {
            if self.text(key).is_some() || auth.contains_key(key) {
                self.warnings.push(format!("`{key}` of {} is not used", self.place));
            }
        }
        if scope == Scope::System {
            self.warnings.push(format!(
                "{} is scoped to the system, which Nova refuses since 2023.1; scope it to a project",
                self.place
            ));
        }
        if auth_url.scheme() == "http" && !is_loopback(&auth_url) {
            self.warnings.push(format!("{} sends its credentials without encryption to {auth_url}", self.place));
        }
        let interfaces = self.text("compute_interface").or_else(|| self.text("interface"));
        let interfaces = interfaces.or_else(|| self.text("endpoint_type")).unwrap_or("public");
        Ok(CloudConfig {
            interfaces: interfaces.split(',').map(|name| name.trim().trim_end_matches("URL").to_owned()).collect(),
            region: self.text("region_name").map(str::to_owned),
            compute_endpoint: self.url("compute_endpoint_override")?,
            timeout: self.timeout()?,
            name: self.name,
            warnings: self.warnings,
            auth_url,
            credentials,
            scope,
            tls,
        })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.tree.get(key).and_then(Node::text)
    }

    fn bad(&self, key: &str, what: &str) -> CloudError {
        wrong(format!("`{key}` of {} {what}", self.place))
    }

    fn flag(&self, key: &str) -> Result<Option<bool>, CloudError> {
        let Some(text) = self.text(key) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Ok(Some(true)),
            "false" | "no" | "off" | "0" => Ok(Some(false)),
            _ => Err(self.bad(key, "must be true or false")),
        }
    }

    fn url(&self, key: &str) -> Result<Option<Url>, CloudError> {
        self.text(key).map(|text| self.parse_url(key, text)).transpose()
    }

    fn parse_url(&self, key: &str, text: &str) -> Result<Url, CloudError> {
        // The value is not shown: a URL may carry a password.
        let url = Url::parse(text.trim()).map_err(|error| self.bad(key, &format!("is not a URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(self.bad(key, "must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.bad(key, "must hold no user name or password; they belong in `auth`"));
        }
        Ok(url)
    }

    /// `auth` with the keys outside it laid over, old names replaced, and a domain given once fanned out.
    fn auth(&self) -> Result<BTreeMap<String, SecretString>, CloudError> {
        let mut auth: BTreeMap<String, SecretString> = BTreeMap::new();
        let inside = match self.tree.get("auth") {
            Some(Node::Map(inside)) => inside.clone(),
            None | Some(Node::Empty) => Tree::new(),
            Some(_) => return Err(self.bad("auth", "must be a mapping")),
        };
        let outside = self.tree.iter().filter(|(key, _)| AUTH_KEYS.contains(&key.as_str()));
        for (key, node) in inside.iter().chain(outside) {
            if let Some(text) = node.text() {
                auth.insert(key.clone(), text.to_owned().into());
            }
        }
        for (old, new) in [
            ("tenant_name", "project_name"),
            ("tenant_id", "project_id"),
            ("auth_token", "token"),
            ("user_name", "username"),
        ] {
            if let Some(value) = auth.remove(old) {
                auth.entry(new.to_owned()).or_insert(value);
            }
        }
        if auth.contains_key("project_name") || auth.contains_key("project_id") {
            for kind in ["name", "id"] {
                if let Some(domain) = auth.remove(&format!("domain_{kind}")) {
                    for owner in ["user", "project"] {
                        auth.entry(format!("{owner}_domain_{kind}")).or_insert_with(|| domain.clone());
                    }
                }
            }
        }
        Ok(auth)
    }

    fn auth_type(&self, auth: &BTreeMap<String, SecretString>) -> String {
        let said = self.text("auth_type").filter(|kind| *kind != "None").unwrap_or_default();
        let has = |key: &str| auth.contains_key(key);
        match said {
            // Nobody who gives only a token or only an application credential means `password`, the default.
            "" | "password" if !has("password") && has("application_credential_secret") => "v3applicationcredential",
            "" | "password" if !has("password") && has("token") => "token",
            "" => "password",
            said => said,
        }
        .to_owned()
    }

    fn auth_url(&self, auth: &BTreeMap<String, SecretString>) -> Result<Url, CloudError> {
        let text = plain(auth, "auth_url").ok_or_else(|| self.bad("auth_url", "is missing"))?;
        let mut url = self.parse_url("auth_url", text)?;
        url.set_query(None);
        url.set_fragment(None);
        let path = url.path().trim_end_matches('/');
        let path = ["/v2.0", "/v3"].iter().find_map(|version| path.strip_suffix(version)).unwrap_or(path).to_owned();
        url.set_path(&path);
        Ok(url)
    }

    fn credentials(&mut self, auth: &BTreeMap<String, SecretString>, kind: &str) -> Result<Credentials, CloudError> {
        let need = |key: &str| {
            auth.get(key).cloned().ok_or_else(|| self.bad(key, &format!("is missing (auth_type is {kind})")))
        };
        match kind {
            "password" | "v3password" => {
                let password = need("password")?;
                Ok(Credentials::Password { user: self.user(auth)?, password })
            }
            "token" | "v3token" => Ok(Credentials::Token(need("token")?)),
            "v3applicationcredential" => {
                let secret = need("application_credential_secret")?;
                let which = match plain(auth, "application_credential_id") {
                    Some(id) => ApplicationCredential::Id(id.to_owned()),
                    None => {
                        let name = need("application_credential_name")
                            .map_err(|_| self.bad("application_credential_id", "is missing"))?;
                        let name = name.expose_secret().to_owned();
                        ApplicationCredential::Named { name, user: self.user(auth)? }
                    }
                };
                Ok(Credentials::ApplicationCredential { which, secret })
            }
            other => Err(self.bad(
                "auth_type",
                &format!(
                    "is `{other}`, which is not supported; use password, v3applicationcredential, or token with one \
                     from `openstack token issue`"
                ),
            )),
        }
    }

    fn user(&mut self, auth: &BTreeMap<String, SecretString>) -> Result<Identity, CloudError> {
        match (plain(auth, "user_id"), plain(auth, "username")) {
            (Some(id), _) => Ok(Identity::Id(id.to_owned())),
            (None, Some(name)) => Ok(Identity::Named { name: name.to_owned(), domain: self.domain(auth, "user") }),
            (None, None) => Err(self.bad("username", "is missing, and so is `user_id`")),
        }
    }

    fn domain(&mut self, auth: &BTreeMap<String, SecretString>, owner: &str) -> Domain {
        match (plain(auth, &format!("{owner}_domain_id")), plain(auth, &format!("{owner}_domain_name"))) {
            (Some(id), _) => Domain::Id(id.to_owned()),
            (None, Some(name)) => Domain::Name(name.to_owned()),
            (None, None) => {
                let place = &self.place;
                self.warnings.push(format!("{place} gives no `{owner}_domain_name`; the domain `default` is taken"));
                Domain::Id("default".to_owned())
            }
        }
    }

    fn scope(&mut self, auth: &BTreeMap<String, SecretString>, credentials: &Credentials) -> Result<Scope, CloudError> {
        if auth.contains_key("trust_id") {
            return Err(self.bad("trust_id", "is not supported"));
        }
        if matches!(credentials, Credentials::ApplicationCredential { .. }) {
            return Ok(Scope::Unsaid);
        }
        if let Some(id) = plain(auth, "project_id") {
            return Ok(Scope::Project(Identity::Id(id.to_owned())));
        }
        if let Some(name) = plain(auth, "project_name") {
            let domain = self.domain(auth, "project");
            return Ok(Scope::Project(Identity::Named { name: name.to_owned(), domain }));
        }
        Ok(match (plain(auth, "system_scope"), plain(auth, "domain_id"), plain(auth, "domain_name")) {
            (Some("all"), _, _) => Scope::System,
            (Some(_), _, _) => return Err(self.bad("system_scope", "must be `all`")),
            (None, Some(id), _) => Scope::Domain(Domain::Id(id.to_owned())),
            (None, None, Some(name)) => Scope::Domain(Domain::Name(name.to_owned())),
            (None, None, None) => Scope::Unsaid,
        })
    }

    fn tls(&mut self) -> Result<Tls, CloudError> {
        let insecure = self.flag("insecure")?.unwrap_or(false);
        let verify = self.flag("verify")?.unwrap_or(true) && !insecure;
        if !verify {
            self.warnings.push(format!("{} does not verify the cloud's certificate", self.place));
        }
        let ca = match (self.text("cacert").map(str::to_owned), verify) {
            (Some(path), true) => Some(self.pem("cacert", &path)?),
            _ => None,
        };
        let identity = match (self.text("cert").map(str::to_owned), self.text("key").map(str::to_owned)) {
            (None, None) => None,
            (None, Some(_)) => return Err(self.bad("key", "needs `cert` beside it")),
            (Some(cert), None) => Some(self.pem("cert", &cert)?),
            (Some(cert), Some(key)) => {
                let (cert, key) = (self.pem("cert", &cert)?, self.pem("key", &key)?);
                let both = format!("{}\n{}", cert.content.expose_secret(), key.content.expose_secret());
                Some(Pem { path: cert.path, content: both.into() })
            }
        };
        Ok(Tls { verify, ca, identity })
    }

    fn pem(&self, key: &str, path: &str) -> Result<Pem, CloudError> {
        let path: PathBuf = expand(self.environment, path);
        let content = (self.environment.read)(&path)
            .map_err(|error| self.bad(key, &format!("names {}, which cannot be read: {error}", path.display())))?;
        let content = String::from_utf8(content)
            .map_err(|_| self.bad(key, &format!("names {}, which is not a PEM file", path.display())))?;
        Ok(Pem { path, content: content.into() })
    }

    fn timeout(&self) -> Result<Option<Duration>, CloudError> {
        let Some(text) = self.text("api_timeout") else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().filter(|seconds| *seconds > 0.0);
        let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        timeout.map(Some).ok_or_else(|| self.bad("api_timeout", "must be a number of seconds above 0"))
    }
}

/// A value that is no secret.
fn plain<'a>(auth: &'a BTreeMap<String, SecretString>, key: &str) -> Option<&'a str> {
    auth.get(key).map(ExposeSecret::expose_secret)
}

fn is_loopback(url: &Url) -> bool {
    matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"))
}
