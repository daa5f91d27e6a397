//! What an answer that is not a success says, in all the shapes it comes in, and what kind of refusal it is.

use serde_json::Value;

use crate::cloud::{CloudErrorKind, Refusal};

/// Longer texts are tracebacks or pages, and the first part says what there is to say.
const MESSAGE_CHARS_MAX: usize = 600;

/// The words of an error body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fault {
    /// Nova's name of it: `itemNotFound`, `conflictingRequest` … (api/openstack/wsgi.py `Fault._fault_names`).
    pub name: Option<String>,
    pub message: String,
    /// `retryAfter` of an `overLimit`, in seconds.
    pub retry_after_s: Option<u64>,
}

impl Fault {
    /// Reads `{"badRequest": {"code", "message"}}` (Nova, Cinder), `{"error": {…}}` (Keystone, keystonemiddleware),
    /// `{"errors": [{"title", "detail"}]}` (Placement), `{"code", "title", "message"}` (webob) and pages of proxies.
    pub(super) fn parse(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let mut fault = match serde_json::from_str::<Value>(&text) {
            Ok(Value::Object(map)) => Self::from_object(&map),
            _ => Self { message: page_title(&text), ..Self::default() },
        };
        fault.message = shorten(&without_tags(&fault.message));
        if fault.message.is_empty() {
            fault.message = canonical(status);
        }
        fault
    }

    fn from_object(map: &serde_json::Map<String, Value>) -> Self {
        let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        for (name, value) in map {
            if let Some(message) = text(value, "message") {
                let retry = value.get("retryAfter");
                let retry_after_s = retry.and_then(|it| it.as_u64().or_else(|| it.as_str()?.parse().ok()));
                return Self { name: Some(name.clone()), message, retry_after_s };
            }
        }
        let first = map.get("errors").and_then(|errors| errors.get(0));
        let message = first
            .and_then(|error| text(error, "detail").or_else(|| text(error, "title")))
            .or_else(|| map.get("message").and_then(Value::as_str).map(str::to_owned))
            .or_else(|| map.get("error").and_then(Value::as_str).map(str::to_owned));
        Self { message: message.unwrap_or_default(), ..Self::default() }
    }

    pub(super) fn refused(self, status: u16) -> CloudErrorKind {
        let refusal = match refusal(status, &self.message) {
            Refusal::NotFound if !self.names_what_is_missing() => Refusal::Other,
            refusal => refusal,
        };
        CloudErrorKind::Refused { status, refusal, message: self.message }
    }

    /// Nova says `itemNotFound` and what. The page of a proxy without its back end, and Nova's own words for a path that
    /// is unknown at this microversion, say nothing about the server; whoever took that for "gone" would call a full
    /// host empty.
    fn names_what_is_missing(&self) -> bool {
        self.name.as_deref() == Some("itemNotFound") && self.message != "The resource could not be found."
    }
}

/// The class of a no: first the status, then the text (nova/exception.py, api/openstack/common.py
/// `raise_http_conflict_for_instance_invalid_state`).
fn refusal(status: u16, message: &str) -> Refusal {
    let has = |text: &str| message.contains(text);
    match status {
        // A quota or a feature is refused for one server, a policy for all.
        403 if has("Quota") || has("quota") || has("not supported") => Refusal::Other,
        401 | 403 => Refusal::Forbidden,
        404 => Refusal::NotFound,
        413 | 429 => Refusal::RateLimited,
        _ if has("is locked") => Refusal::Locked,
        409 if has("in task_state") || has("is not ready") => Refusal::Busy,
        409 if has("in vm_state") || has("in power_state") => Refusal::WrongState,
        400 if has("has not been resized") => Refusal::WrongState,
        400 | 409 if has("No valid host was found") || has("max scheduling") => Refusal::NoValidHost,
        400 | 409 if has("unavailable at this time") => Refusal::HostDown,
        _ => Refusal::Other,
    }
}

fn page_title(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").zip(lower.find("</title>"));
    let title = title.and_then(|(start, end)| text.get(start + "<title>".len()..end));
    title.filter(|title| !title.trim().is_empty()).unwrap_or(text).to_owned()
}

/// Text without markup, white space run together.
fn without_tags(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut in_tag = false;
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '<' if rest.peek().is_some_and(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!')) => {
                in_tag = true;
                plain.push(' ');
            }
            '>' if in_tag => in_tag = false,
            _ if in_tag => {}
            c => plain.push(c),
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn canonical(status: u16) -> String {
    let reason = reqwest::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    reason.unwrap_or("no reason given").to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(body: &str) -> (Option<String>, String) {
        let fault = Fault::parse(500, body.as_bytes());
        (fault.name, fault.message)
    }

    #[test]
    fn every_shape_of_error_body_gives_its_message() {
        let named = |name: &str, message: &str| (Some(name.to_owned()), message.to_owned());
        let plain = |message: &str| (None, message.to_owned());
        for (body, expected) in [
            (
                r#"{"conflictingRequest": {"code": 409, "message": "is locked"}}"#,
                named("conflictingRequest", "is locked"),
            ),
            (r#"{"error": {"code": 401, "title": "Unauthorized", "message": "No."}}"#, named("error", "No.")),
            (r#"{"errors": [{"status": 404, "title": "T", "detail": "No such."}]}"#, plain("No such.")),
            (
                r#"{"message": "Not here.<br /><br />\n\n", "code": "404 Not Found", "title": "Not Found"}"#,
                plain("Not here."),
            ),
            (r#"{"error": "busy"}"#, plain("busy")),
            ("<html><head><title>502 Bad\nGateway</title></head><body>x</body></html>", plain("502 Bad Gateway")),
            (
                "<html><body><h1>503 Service Unavailable</h1>\nNo server.</body></html>",
                plain("503 Service Unavailable No server."),
            ),
            ("memory < 5 and > 3", plain("memory < 5 and > 3")),
            ("", plain("Internal Server Error")),
            ("[]", plain("[]")),
        ] {
            assert_eq!(words(body), expected, "{body}");
        }
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let (_, message) = words(&"é".repeat(5000));
        assert_eq!(message.chars().count(), MESSAGE_CHARS_MAX + 1);
    }

    #[test]
    fn retry_after_of_the_body_is_read() {
        let body = br#"{"overLimit": {"code": 413, "message": "This request was rate-limited.", "retryAfter": "3"}}"#;
        assert_eq!(Fault::parse(413, body).retry_after_s, Some(3));
    }

    #[test]
    fn refusals_are_told_apart_by_status_and_text() {
        for (status, message, expected) in [
            (403, "Policy doesn't allow os_compute_api:os-migrate-server:migrate to be performed.", Refusal::Forbidden),
            (403, "Quota exceeded for cores: Requested 1, but already used 9 of 9 cores", Refusal::Other),
            (404, "Instance 1 could not be found.", Refusal::NotFound),
            (409, "Cannot 'migrate' instance 1 while it is in task_state migrating", Refusal::Busy),
            (409, "Cannot 'migrate' instance 1 while it is in vm_state resized", Refusal::WrongState),
            (409, "Instance 1 is locked", Refusal::Locked),
            (409, "Service is unavailable at this time.", Refusal::HostDown),
            (400, "Compute service of cmp06 is unavailable at this time.", Refusal::HostDown),
            (400, "No valid host was found. There are not enough hosts available.", Refusal::NoValidHost),
            (400, "Instance has not been resized.", Refusal::WrongState),
            // Not NotFound: the server is there, and whoever reads NotFound may take it for gone.
            (400, "Compute host nosuch could not be found.", Refusal::Other),
            (429, "slow down", Refusal::RateLimited),
        ] {
            assert_eq!(refusal(status, message), expected, "{message}");
        }
    }

    #[test]
    fn only_novas_own_word_makes_a_server_missing() {
        let is_missing = |body: &str| {
            let kind = Fault::parse(404, body.as_bytes()).refused(404);
            matches!(kind, CloudErrorKind::Refused { refusal: Refusal::NotFound, .. })
        };
        assert!(is_missing(r#"{"itemNotFound": {"code": 404, "message": "Instance abc-1 could not be found."}}"#));
        assert!(!is_missing(r#"{"itemNotFound": {"code": 404, "message": "The resource could not be found."}}"#));
        assert!(!is_missing(r#"{"message": "Gone.<br />", "code": "404 Not Found", "title": "Not Found"}"#));
        assert!(!is_missing("<html><title>404 /servers/abc-1 Not Found</title></html>"));
    }

    proptest! {
        #[test]
        fn no_body_panics_or_gives_an_empty_or_endless_message(status in 300u16..600, body in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let fault = Fault::parse(status, &body);
            prop_assert!(!fault.message.is_empty());
            prop_assert!(fault.message.chars().count() <= MESSAGE_CHARS_MAX + 1);
        }
    }
}
