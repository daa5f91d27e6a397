//! Sends requests and decides what a failure means: which may be sent again, which were certainly refused, and which
//! may have been received although no answer says so.
//!
//! The one rule that everything rests on: a request that changes something is sent again only after the service said
//! that it did not act on it (401, 413, 429) or when no connection was made at all. Deliberately absent: what is in
//! the answers, and following redirects (the token would go along).

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, Method, Url};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::config::{CloudConfig, Credentials};
use super::fault::Fault;
use super::keystone::{self, TokenAnswer};
use super::session::{Fresh, LIFE_FOR_A_MOVE, LIFE_MIN, Session, Sessions};
use crate::cloud::{CloudError, CloudErrorKind, Microversion};

/// Above this a body is not an answer of these APIs: a thousand servers take about 4 MiB, and all the migration
/// history of a large cloud below 2.59 (no paging) about 50 MiB.
const BODY_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Idle connections are dropped before servers and proxies do it (Apache's `KeepAliveTimeout` is 5 s), because a
/// request sent into a closing connection is lost.
const IDLE: Duration = Duration::from_secs(4);
/// How often a reading is tried, and one that could not connect.
const ATTEMPTS_MAX: u32 = 5;
/// How often a 413 or 429 is waited out.
const LIMIT_WAITS_MAX: u32 = 6;

/// How long things may take. A test makes the waits short.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    pub connect: Duration,
    /// One reading, from connecting to its last byte. Proxies cut at about 60 s.
    pub read: Duration,
    /// One request that changes something. Below 2.34 a live migration, and up to Train a `migrate`, is checked and
    /// scheduled before it is answered, with several waits of `rpc_response_timeout` (60 s) for hosts that are slow.
    pub ask: Duration,
    /// No further attempt begins when this has passed.
    pub patience: Duration,
    /// The wait before the second attempt; it doubles up to `backoff_max`.
    pub backoff: Duration,
    pub backoff_max: Duration,
    /// The longest `Retry-After` that is obeyed in full.
    pub limit_wait_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            read: Duration::from_secs(90),
            ask: Duration::from_secs(300),
            patience: Duration::from_secs(240),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(8),
            limit_wait_max: Duration::from_secs(60),
        }
    }
}

/// One request to the compute API, as a value.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub method: Method,
    /// Path segments below the endpoint, not yet percent-encoded. Empty for the version document.
    pub segments: Vec<String>,
    pub query: Vec<(&'static str, String)>,
    pub body: Option<Value>,
    /// `None` only for the version document.
    pub version: Option<Microversion>,
    /// Begins something that goes on with this token after the answer.
    pub long: bool,
}

impl Request {
    pub(super) fn get<const N: usize>(version: Microversion, segments: [&str; N]) -> Self {
        Self {
            method: Method::GET,
            segments: segments.map(str::to_owned).to_vec(),
            query: Vec::new(),
            body: None,
            version: Some(version),
            long: false,
        }
    }

    pub(super) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    /// How errors name it: method, path, and the action of a `POST …/action`.
    pub(super) fn name(&self) -> String {
        let path = if self.segments.is_empty() { "v2.1/".to_owned() } else { self.segments.join("/") };
        let action = self.body.as_ref().filter(|_| self.method == Method::POST).and_then(Value::as_object);
        match action.and_then(|body| body.keys().next()) {
            Some(action) => format!("{} /{path} {action}", self.method),
            None => format!("{} /{path}", self.method),
        }
    }

    fn is_reading(&self) -> bool {
        self.method == Method::GET
    }

    fn url(&self, compute: &Url) -> Url {
        if self.segments.is_empty() {
            return keystone::version_url(compute);
        }
        let mut url = compute.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&self.segments);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        url
    }
}

/// A success.
#[derive(Debug)]
pub(super) struct Reply {
    pub request_id: Option<String>,
    /// The cloud's clock at the beginning, from `Date`; ours where a proxy took the header away.
    pub at: Timestamp,
    pub body: Vec<u8>,
    /// The microversion that the service says it spoke.
    pub version: Option<String>,
}

/// An answer, or the reason why there is none.
struct Raw {
    /// How long it took, since what it says may be as old as that.
    took: Duration,
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

struct Broken {
    /// The request may have been received.
    sent: bool,
    cause: String,
}

impl Broken {
    /// A certificate that is not trusted now is not in a second either.
    fn is_worth_another_try(&self) -> bool {
        !self.cause.contains("invalid peer certificate")
    }
}

pub(super) struct Transport {
    config: CloudConfig,
    timing: Timing,
    reader: Client,
    /// Every change goes over a connection of its own: on a kept one, a server that closes it at the same moment
    /// leaves the outcome unknown.
    asker: Client,
    sessions: Sessions,
    requests: AtomicU64,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Transport {
    pub(super) fn new(config: CloudConfig, timing: Timing) -> Result<Self, CloudError> {
        let timing = config.timeout.map_or(timing, |timeout| Timing { read: timeout, ask: timeout, ..timing });
        let build = |pooled| {
            client(&config, &timing, pooled).map_err(|message| CloudError {
                call: format!("the TLS set-up of cloud `{}`", config.name),
                request_id: None,
                kind: CloudErrorKind::Config { message },
            })
        };
        let (reader, asker) = (build(true)?, build(false)?);
        Ok(Self { config, timing, reader, asker, sessions: Sessions::default(), requests: AtomicU64::new(0) })
    }

    pub(super) fn config(&self) -> &CloudConfig {
        &self.config
    }

    pub(super) fn requests_sent(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Sends a request to the compute API and waits out what can be waited out.
    pub(super) async fn send(&self, request: &Request) -> Result<Reply, CloudError> {
        let need = if request.long { LIFE_FOR_A_MOVE } else { LIFE_MIN };
        let mut tries = Tries::new(&self.timing);
        let mut rejected = None;
        loop {
            let session = self.sessions.get(need, rejected, async || self.authenticate().await).await?;
            let exchanged = self.exchange(self.build(request, &session)).await;
            let (request_id, kind) = match exchanged {
                Err(broken) if broken.sent && !request.is_reading() => {
                    (None, CloudErrorKind::Lost { cause: broken.cause })
                }
                Err(broken) => {
                    if broken.is_worth_another_try() && tries.again().await {
                        continue;
                    }
                    (None, CloudErrorKind::Unreachable { cause: tries.after(&broken.cause) })
                }
                Ok(raw) if (200..300).contains(&raw.status) => return Ok(raw.into_reply()),
                Ok(raw) if raw.status == 401 && rejected.is_none() => {
                    rejected = Some(session.generation);
                    continue;
                }
                Ok(raw) if raw.is_limit() => {
                    if tries.after_limit(raw.retry_after()).await {
                        continue;
                    }
                    (raw.request_id(), raw.fault().refused(429))
                }
                Ok(raw) if raw.is_doubtful() && request.is_reading() => {
                    if tries.again().await {
                        continue;
                    }
                    (raw.request_id(), CloudErrorKind::Unreachable { cause: tries.after(&raw.words()) })
                }
                Ok(raw) => (raw.request_id(), raw.verdict()),
            };
            let token = session.token.to_str().unwrap_or_default();
            return Err(CloudError { call: request.name(), request_id, kind: scrub(kind, token) });
        }
    }

    fn build(&self, request: &Request, session: &Session) -> reqwest::RequestBuilder {
        let (client, timeout) = match request.is_reading() {
            true => (&self.reader, self.timing.read),
            false => (&self.asker, self.timing.ask),
        };
        let mut builder = client
            .request(request.method.clone(), request.url(&session.compute))
            .timeout(timeout)
            .header("X-Auth-Token", session.token.clone())
            .header("Accept", "application/json");
        if let Some(version) = request.version {
            // Liberty and Mitaka know only the second (api/openstack/wsgi.py @12, @13).
            builder = builder
                .header("OpenStack-API-Version", format!("compute {version}"))
                .header("X-OpenStack-Nova-API-Version", version.to_string());
        }
        match &request.body {
            Some(body) => builder.json(body),
            None => builder,
        }
    }

    async fn exchange(&self, builder: reqwest::RequestBuilder) -> Result<Raw, Broken> {
        let (client, request) = builder.build_split();
        let request = request.map_err(|error| Broken { sent: false, cause: cause(error) })?;
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let started = Instant::now();
        self.requests.fetch_add(1, Ordering::Relaxed);
        let outcome = exchange(&client, request).await;
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &outcome {
            Ok(raw) => {
                let id = raw.request_id();
                tracing::debug!(%method, path, status = raw.status, ms, request_id = id.as_deref(), "answered");
            }
            Err(broken) => tracing::debug!(%method, path, ms, sent = broken.sent, cause = broken.cause, "no answer"),
        }
        outcome
    }

    /// Gets a token. It changes nothing, so it is tried again like a reading.
    async fn authenticate(&self) -> Result<Fresh, CloudError> {
        let mut url = self.config.auth_url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v3", "auth", "tokens"]);
        }
        let mut tries = Tries::new(&self.timing);
        loop {
            let body = keystone::token_request(&self.config.credentials, &self.config.scope);
            let builder = self.reader.post(url.clone()).timeout(self.timing.read).json(&body);
            let (request_id, kind) = match self.exchange(builder).await {
                Err(broken) => {
                    if broken.is_worth_another_try() && tries.again().await {
                        continue;
                    }
                    (None, CloudErrorKind::Unreachable { cause: tries.after(&broken.cause) })
                }
                Ok(raw) if (200..300).contains(&raw.status) => match self.fresh(&raw) {
                    Ok(fresh) => return Ok(fresh),
                    Err(kind) => (raw.request_id(), kind),
                },
                Ok(raw) if raw.is_limit() && tries.after_limit(raw.retry_after()).await => continue,
                Ok(raw) if raw.is_doubtful() && tries.again().await => continue,
                Ok(raw) => (raw.request_id(), self.refused_token(&raw, &tries)),
            };
            let kind = scrub(kind, keystone::secret(&self.config.credentials));
            return Err(CloudError { call: format!("POST {url}"), request_id, kind });
        }
    }

    fn fresh(&self, raw: &Raw) -> Result<Fresh, CloudErrorKind> {
        let protocol = |what: &str| CloudErrorKind::Protocol { what: what.to_owned() };
        let token = raw.headers.get("X-Subject-Token").ok_or_else(|| protocol("no X-Subject-Token in the answer"))?;
        let mut token = token.clone();
        token.set_sensitive(true);
        let answer: TokenAnswer = serde_json::from_slice(&raw.body)
            // Where, but not what: the body is not for messages.
            .map_err(|error| protocol(&format!("not a Keystone v3 token (line {})", error.line())))?;
        let at = raw.date();
        Ok(Fresh {
            token,
            compute: answer.compute(&self.config)?,
            life: answer.life(at),
            // A token got with a token inherits its end (keystone api-ref), so there is nothing to win.
            renewable: !matches!(self.config.credentials, Credentials::Token(_)),
            at,
        })
    }

    fn refused_token(&self, raw: &Raw, tries: &Tries<'_>) -> CloudErrorKind {
        let message = raw.fault().message;
        match raw.status {
            401 => {
                let hint = match self.config.credentials {
                    Credentials::Token(_) => "a given token cannot be renewed: get a new one",
                    Credentials::Password { .. } => "Keystone does not say whether user, password or project is wrong",
                    Credentials::ApplicationCredential { .. } => "the application credential is wrong or expired",
                };
                CloudErrorKind::Unauthenticated { message: format!("{message} ({hint})") }
            }
            404 => CloudErrorKind::Config {
                message: format!("`auth_url` of cloud `{}` leads to no Keystone v3: {message}", self.config.name),
            },
            _ if raw.is_doubtful() => CloudErrorKind::Unreachable { cause: tries.after(&raw.words()) },
            300..=399 => raw.redirected("auth_url"),
            status => raw.fault().refused(status),
        }
    }
}

impl Raw {
    fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
    }

    fn request_id(&self) -> Option<String> {
        // For a server action the first is the instance action's id (nova/api/compute_req_id.py).
        self.header("x-compute-request-id").or_else(|| self.header("x-openstack-request-id"))
    }

    /// The cloud's clock at the answer; ours where there is no header.
    fn date(&self) -> Timestamp {
        let date = self.headers.get(DATE).and_then(|value| value.to_str().ok());
        let date = date.and_then(|value| httpdate::parse_http_date(value).ok());
        date.and_then(|date| Timestamp::try_from(date).ok()).unwrap_or_else(Timestamp::now)
    }

    /// The cloud's clock when the request went out, in whole seconds: rows were read at some moment before `Date`, and
    /// a change after that moment must not be older than what is asked for next.
    fn began_at(&self) -> Timestamp {
        let date = self.date();
        let began = jiff::SignedDuration::try_from(self.took).ok().and_then(|took| date.checked_sub(took).ok());
        Timestamp::from_second(began.unwrap_or(date).as_second()).unwrap_or(date)
    }

    fn fault(&self) -> Fault {
        Fault::parse(self.status, &self.body)
    }

    fn words(&self) -> String {
        format!("{} {}", self.status, self.fault().message)
    }

    /// Refused for the number of requests. A 413 alone can also mean a body that is too long.
    fn is_limit(&self) -> bool {
        self.status == 429
            || self.status == 413
                && (self.headers.contains_key(RETRY_AFTER) || self.fault().name.as_deref() == Some("overLimit"))
    }

    fn retry_after(&self) -> Option<Duration> {
        let header = self.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let seconds = header.and_then(|text| text.trim().parse().ok()).or_else(|| self.fault().retry_after_s);
        let until = || {
            let date = SystemTime::from(Timestamp::try_from(httpdate::parse_http_date(header?).ok()?).ok()?);
            date.duration_since(SystemTime::from(self.date())).ok()
        };
        seconds.map(Duration::from_secs).or_else(until)
    }

    /// Says nothing about what became of the request: an error of a proxy, or Nova's own 500, after which the
    /// operation may still go on ("LM will still be in progress", compute/api.py `live_migrate`).
    fn is_doubtful(&self) -> bool {
        self.status == 408 || (self.status >= 500 && !matches!(self.status, 501 | 505))
    }

    /// What a failure means that nothing more can be done about.
    fn verdict(&self) -> CloudErrorKind {
        match self.status {
            401 => CloudErrorKind::Unauthenticated {
                message: format!("{} (a new token was refused too)", self.fault().message),
            },
            300..=399 => self.redirected("compute_endpoint_override"),
            _ if self.is_doubtful() => CloudErrorKind::Lost { cause: self.words() },
            status => self.fault().refused(status),
        }
    }

    fn redirected(&self, key: &str) -> CloudErrorKind {
        let to = self.headers.get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or("nowhere");
        let to = to.split('?').next().unwrap_or_default();
        CloudErrorKind::Protocol {
            what: format!(
                "redirected with {} to {to}, which is not followed; set `{key}` to the right URL",
                self.status
            ),
        }
    }

    fn into_reply(self) -> Reply {
        let version = self.header("OpenStack-API-Version").and_then(|value| {
            value.split(',').find_map(|part| part.trim().strip_prefix("compute ").map(str::to_owned))
        });
        Reply {
            request_id: self.request_id(),
            at: self.began_at(),
            version: version.or_else(|| self.header("X-OpenStack-Nova-API-Version")),
            body: self.body,
        }
    }
}

async fn exchange(client: &Client, request: reqwest::Request) -> Result<Raw, Broken> {
    let reading = request.method() == Method::GET;
    let started = Instant::now();
    let sent = |error: &reqwest::Error| !error.is_connect() && !error.is_builder();
    let mut response =
        client.execute(request).await.map_err(|error| Broken { sent: sent(&error), cause: cause(error) })?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_BYTES_MAX => body.extend_from_slice(&chunk),
            Ok(Some(_)) => {
                return Err(Broken { sent: true, cause: format!("the answer is longer than {BODY_BYTES_MAX} bytes") });
            }
            Ok(None) => break,
            // The status of a change is what counts, and it is here.
            Err(_) if !reading && status < 300 => break,
            Err(error) => return Err(Broken { sent: true, cause: cause(error) }),
        }
    }
    Ok(Raw { took: started.elapsed(), status, headers, body })
}

/// Attempts and waits of one request.
struct Tries<'a> {
    timing: &'a Timing,
    started: Instant,
    attempts: u32,
    waits: u32,
}

impl<'a> Tries<'a> {
    fn new(timing: &'a Timing) -> Self {
        Self { timing, started: Instant::now(), attempts: 1, waits: 0 }
    }

    /// Waits before another attempt; false when there is none left.
    async fn again(&mut self) -> bool {
        let wait = self.timing.backoff.saturating_mul(1 << (self.attempts - 1).min(16)).min(self.timing.backoff_max);
        let wait = jittered(wait);
        if self.attempts >= ATTEMPTS_MAX || self.started.elapsed() + wait > self.timing.patience {
            return false;
        }
        self.attempts += 1;
        tokio::time::sleep(wait).await;
        true
    }

    /// Waits as long as the service asked for, within bounds; false when it has been waited often enough.
    async fn after_limit(&mut self, asked: Option<Duration>) -> bool {
        if self.waits >= LIMIT_WAITS_MAX {
            return false;
        }
        self.waits += 1;
        let wait = asked.unwrap_or(self.timing.backoff_max).min(self.timing.limit_wait_max);
        // A little later than asked for, and not all at the same moment.
        tokio::time::sleep(wait + jittered(self.timing.backoff)).await;
        true
    }

    fn after(&self, cause: &str) -> String {
        match self.attempts {
            1 => cause.to_owned(),
            attempts => format!("{cause} (after {attempts} attempts in {} s)", self.started.elapsed().as_secs()),
        }
    }
}

/// Between half of it and all of it, so that many clients do not come back together.
fn jittered(wait: Duration) -> Duration {
    // Every `RandomState` has keys of its own, which is all the randomness that spreading needs.
    let random = RandomState::new().hash_one(0u8);
    wait.mul_f64(0.5 + (random % 1024) as f64 / 2048.0)
}

/// The error and everything under it, without the URL.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    if text.contains("UnknownIssuer") || text.contains("unknown issuer") {
        text.push_str("; if the cloud has an authority of its own, name its file in `cacert`");
    }
    text
}

/// Keeps a secret that a service or a proxy echoes out of what people read.
fn scrub(kind: CloudErrorKind, secret: &str) -> CloudErrorKind {
    if secret.is_empty() {
        return kind;
    }
    let clean = |text: String| text.replace(secret, "***");
    match kind {
        CloudErrorKind::Refused { status, refusal, message } => {
            CloudErrorKind::Refused { status, refusal, message: clean(message) }
        }
        CloudErrorKind::Lost { cause } => CloudErrorKind::Lost { cause: clean(cause) },
        CloudErrorKind::Unreachable { cause } => CloudErrorKind::Unreachable { cause: clean(cause) },
        CloudErrorKind::Unauthenticated { message } => CloudErrorKind::Unauthenticated { message: clean(message) },
        CloudErrorKind::Protocol { what } => CloudErrorKind::Protocol { what: clean(what) },
        CloudErrorKind::Config { message } => CloudErrorKind::Config { message: clean(message) },
        CloudErrorKind::TooOld { .. } => kind,
    }
}

fn client(config: &CloudConfig, timing: &Timing, pooled: bool) -> Result<Client, String> {
    let mut builder = Client::builder()
        .user_agent(concat!("furlough/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timing.connect)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .pool_idle_timeout(IDLE)
        .tls_danger_accept_invalid_certs(!config.tls.verify);
    if !pooled {
        builder = builder.pool_max_idle_per_host(0).http1_only();
    }
    if let Some(ca) = &config.tls.ca {
        let certificates = Certificate::from_pem_bundle(ca.content.expose_secret().as_bytes());
        let certificates = certificates.ok().filter(|found| !found.is_empty());
        let certificates =
            certificates.ok_or_else(|| format!("`cacert` {} holds no PEM certificate", ca.path.display()))?;
        builder = builder.tls_certs_merge(certificates);
    }
    if let Some(pem) = &config.tls.identity {
        let identity = reqwest::Identity::from_pem(pem.content.expose_secret().as_bytes())
            .map_err(|_| format!("`cert` {} and `key` are not a PEM certificate with its key", pem.path.display()))?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(cause)
}
