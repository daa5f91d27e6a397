//! A proxy before nova-api: it remembers every request, and can lose, delay or answer some itself.
//!
//! Furlough is pointed at it by `compute_endpoint_override` in the `clouds.yaml` of the scenario. The `Host` header is
//! passed on as it came, so that the links in Nova's answers lead here too. One request a connection: deliberately
//! absent are keep-alive, chunked requests (answered 501) and TLS.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::nova::{HTTP, RUNTIME};

/// No request furlough sends comes near it; what does is a fault of the test.
const MAX_REQUEST_BYTES: usize = 1 << 20;

/// One request as it arrived, and what became of it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    pub method: String,
    /// With the query, without the host.
    pub path: String,
    pub token: Option<String>,
    pub microversion: Option<String>,
    /// Null when there was none.
    pub body: Value,
    /// The status that was sent back; none when the connection was cut or nothing came yet.
    pub status: Option<u16>,
}

impl Seen {
    /// Everything but reading.
    pub fn changes(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }

    /// A server action of this name, such as `os-migrateLive`.
    pub fn is_action(&self, name: &str) -> bool {
        self.method == "POST" && self.path.ends_with("/action") && self.body.get(name).is_some()
    }
}

/// What happens to a request instead of being passed on and answered.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answered here with this status, in Nova's form; Nova never sees it.
    Answer(u16),
    /// The same, with these words of Nova's.
    Say(u16, String),
    /// The connection is cut before Nova sees it.
    DropRequest,
    /// Nova does it, and the answer is lost.
    DropAnswer,
    /// Passed on after this long.
    Delay(Duration),
}

/// Which requests, how many of them, and what happens.
#[derive(Debug)]
struct Rule {
    method: String,
    path: String,
    body: String,
    fault: Fault,
    left: u32,
}

#[derive(Debug, Default)]
struct State {
    seen: Vec<Seen>,
    rules: Vec<Rule>,
    /// The newest microversion that Nova's version documents are made to offer.
    cap: Option<String>,
}

/// A running proxy; it ends with its owner.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes on to `upstream` (scheme, host, port).
    pub fn start(upstream: &str) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, upstream) = (Arc::clone(&state), Arc::<str>::from(upstream));
        let listener = RUNTIME.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("a free port");
        let address = listener.local_addr().expect("the proxy's address");
        let task = RUNTIME.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (shared, upstream) = (Arc::clone(&shared), Arc::clone(&upstream));
                tokio::spawn(async move {
                    if let Err(e) = serve(stream, &upstream, &shared).await {
                        eprintln!("proxy: {e}");
                    }
                });
            }
        });
        Self { address, state, task }
    }

    /// Scheme, host and port.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests of this method, with `path` in their path and `body` in their body, meet `fault`.
    pub fn inject(&self, times: u32, method: &str, path: &str, body: &str, fault: Fault) {
        let rule = Rule { method: method.into(), path: path.into(), body: body.into(), fault, left: times };
        lock(&self.state).rules.push(rule);
    }

    /// From now on Nova's version documents offer this microversion as their newest. Nova itself still takes newer ones.
    pub fn cap(&self, newest: &str) {
        lock(&self.state).cap = Some(newest.to_owned());
    }

    /// Every request so far, in the order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state).seen.clone()
    }

    /// How many requests so far are as `wanted` says.
    pub fn count(&self, wanted: impl Fn(&Seen) -> bool) -> usize {
        lock(&self.state).seen.iter().filter(|s| wanted(s)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request off the wire.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }
}

async fn serve(mut stream: TcpStream, upstream: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let Some(request) = read_request(&mut stream).await? else { return Ok(()) };
    if request.header("transfer-encoding").is_some() {
        return reply(&mut stream, 501, &[], b"chunked requests are not passed on").await;
    }
    let (index, fault) = note(&mut lock(state), &request);
    match fault {
        Some(Fault::DropRequest) => return Ok(()),
        Some(Fault::Answer(status)) => {
            return answer(&mut stream, state, index, status, "lab fault: answered by the proxy").await;
        }
        Some(Fault::Say(status, words)) => return answer(&mut stream, state, index, status, &words).await,
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::DropAnswer) | None => {}
    }
    let (status, headers, mut body) = pass_on(&request, upstream).await.map_err(std::io::Error::other)?;
    if let Some(newest) = lock(state).cap.clone() {
        body = capped(&request.path, body, &newest);
    }
    if matches!(fault, Some(Fault::DropAnswer)) {
        return Ok(());
    }
    lock(state).seen[index].status = Some(status);
    reply(&mut stream, status, &headers, &body).await
}

/// Answers in Nova's stead.
async fn answer(
    stream: &mut TcpStream,
    state: &Mutex<State>,
    index: usize,
    status: u16,
    words: &str,
) -> std::io::Result<()> {
    lock(state).seen[index].status = Some(status);
    let body = nova_error(status, words).to_string();
    let json = [("content-type".to_owned(), "application/json".to_owned())];
    reply(stream, status, &json, body.as_bytes()).await
}

/// A version document with another newest microversion; every other body as it is.
fn capped(path: &str, body: Vec<u8>, newest: &str) -> Vec<u8> {
    if !["/", "/v2.1", "/v2.1/"].contains(&path) {
        return body;
    }
    let Ok(mut document) = serde_json::from_slice::<Value>(&body) else { return body };
    let many = document["versions"].as_array_mut().into_iter().flatten().filter(|v| v["version"] != "");
    many.for_each(|version| version["version"] = json!(newest));
    if let Some(one) = document.get_mut("version") {
        one["version"] = json!(newest);
    }
    document.to_string().into_bytes()
}

/// Remembers the request and takes the fault that waits for it, if one does.
fn note(state: &mut State, request: &Request) -> (usize, Option<Fault>) {
    let own = |name: &str| request.header(name).map(str::to_owned);
    let api_version = own("openstack-api-version").and_then(|v| v.strip_prefix("compute ").map(str::to_owned));
    state.seen.push(Seen {
        at: Instant::now(),
        method: request.method.clone(),
        path: request.path.clone(),
        token: own("x-auth-token"),
        microversion: api_version.or_else(|| own("x-openstack-nova-api-version")),
        body: serde_json::from_slice(&request.body).unwrap_or(Value::Null),
        status: None,
    });
    let text = String::from_utf8_lossy(&request.body);
    let meets = |r: &&mut Rule| {
        r.left > 0 && r.method == request.method && request.path.contains(&r.path) && text.contains(&r.body)
    };
    let fault = state.rules.iter_mut().find(meets).map(|rule| {
        rule.left -= 1;
        rule.fault.clone()
    });
    (state.seen.len() - 1, fault)
}

/// None when the other side closed without a word.
async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let bad = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        if bytes.len() > MAX_REQUEST_BYTES {
            return Err(bad("a request's head is too long"));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(bad("cut off in a request's head")) };
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).map_err(|_| bad("a request's head is not UTF-8"))?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path)) = (first.next(), first.next()) else { return Err(bad("no request line")) };
    let header = |l: &str| l.split_once(':').map(|(n, v)| (n.to_owned(), v.trim().to_owned()));
    let headers = lines.filter_map(header).collect();
    let body = bytes.split_off(head_end + 4);
    let mut request = Request { method: method.into(), path: path.into(), headers, body };
    let length: usize = match request.header("content-length") {
        Some(n) => n.parse().map_err(|_| bad("content-length is no number"))?,
        None => 0,
    };
    if length > MAX_REQUEST_BYTES {
        return Err(bad("a request's body is too long"));
    }
    while request.body.len() < length {
        if stream.read_buf(&mut request.body).await? == 0 {
            return Err(bad("cut off in a request's body"));
        }
    }
    Ok(Some(request))
}

type Headers = Vec<(String, String)>;

async fn pass_on(request: &Request, upstream: &str) -> reqwest::Result<(u16, Headers, Vec<u8>)> {
    let method = reqwest::Method::from_bytes(request.method.as_bytes()).unwrap_or_default();
    let mut onward = HTTP.request(method, format!("{upstream}{}", request.path)).body(request.body.clone());
    for (name, value) in &request.headers {
        if !["connection", "content-length"].contains(&name.to_ascii_lowercase().as_str()) {
            onward = onward.header(name, value);
        }
    }
    let response = onward.send().await?;
    let status = response.status().as_u16();
    let kept = |n: &str| !["connection", "content-length", "transfer-encoding", "keep-alive"].contains(&n);
    let pairs = response.headers().iter().filter(|(n, _)| kept(n.as_str()));
    let headers = pairs.map(|(n, v)| (n.to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())).collect();
    Ok((status, headers, response.bytes().await?.to_vec()))
}

async fn reply(stream: &mut TcpStream, status: u16, headers: &[(String, String)], body: &[u8]) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} -\r\nconnection: close\r\n");
    // a 204 or 304 has no body, and no length of one (RFC 9110, 8.6)
    if status != 204 && status != 304 {
        head += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await
}

/// An error body as Nova words it (nova/api/openstack/wsgi.py, `Fault`); a 401 comes from keystonemiddleware.
fn nova_error(status: u16, words: &str) -> Value {
    let name = match status {
        400 => "badRequest",
        401 => {
            return json!({"error": {"code": 401, "title": "Unauthorized",
            "message": "The request you have made requires authentication."}});
        }
        403 => "forbidden",
        404 => "itemNotFound",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        503 => "serviceUnavailable",
        _ => "computeFault",
    };
    json!({name: {"code": status, "message": words}})
}
