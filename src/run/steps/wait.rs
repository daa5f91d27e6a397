//! Waits until an expression over the host's facts, read afresh at each look, holds.
//!
//! A host that was just rebooted or killed goes on being `up` by its old heartbeat for up to `service_down_time` (60 s),
//! so `up` counts only with a heartbeat newer than the one there was when the wait began; until then it is `unknown`.

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::time::Instant;

use super::disable::service;
use super::{Asked, Context, Kind, Trouble, Verdict};
use crate::cloud::Host;
use crate::compile::{host_facts, host_facts_of};
use crate::event::{Done, Outcome};
use crate::plan::Expr;
use crate::plan::facts::HostFacts;

/// Between looks: nova-compute reports every 10 s (`report_interval`).
const LOOK_AGAIN_MS: u64 = 3_000;

pub(super) struct Wait {
    until: Expr,
    timeout_s: u64,
    since: Option<Instant>,
    /// The heartbeat that was the newest when the wait began.
    old_heartbeat: Option<Timestamp>,
}

impl Wait {
    pub(super) fn new(until: &Expr, timeout_s: u64) -> Self {
        Self { until: until.clone(), timeout_s, since: None, old_heartbeat: None }
    }
}

/// The host's newest heartbeat and its facts; one small request is enough for the usual question, whether it is up.
async fn service_facts(cx: &Context) -> Result<Option<(Option<Timestamp>, HostFacts)>, Trouble> {
    let host = service(cx).await?.map(|service| Host {
        name: cx.step.host.clone(),
        service,
        hypervisors: Vec::new(),
        aggregates: Vec::new(),
    });
    Ok(host.map(|host| (host.service.updated_at, host_facts_of(&host, 0))))
}

/// Whether every member of `host` it names is in the row of its compute service. A doubt costs a larger reading, never
/// a wrong answer.
fn asks_only_of_service(text: &str) -> bool {
    text.match_indices("host").all(|(at, word)| {
        let member = text[at + word.len()..].trim_start();
        let member = member.strip_prefix('.').map(str::trim_start).unwrap_or_default();
        ["service", "name", "zone"].iter().any(|light| {
            member.strip_prefix(light).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
        })
    })
}

async fn all_facts(cx: &Context) -> Result<Option<(Option<Timestamp>, HostFacts)>, Trouble> {
    let inventory = cx.cloud.inventory().await?;
    let host = inventory.host(&cx.step.host);
    Ok(host.map(|host| (host.service.updated_at, host_facts(&inventory, host))))
}

#[async_trait]
impl Kind for Wait {
    async fn settle(&mut self, cx: &Context, _asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let begins = self.since.is_none();
        let since = *self.since.get_or_insert_with(Instant::now);
        let light = asks_only_of_service(self.until.as_str());
        let mut read = if light { service_facts(cx).await? } else { all_facts(cx).await? };
        if let Some((heartbeat, facts)) = &mut read {
            if begins {
                self.old_heartbeat = *heartbeat;
            }
            if facts.service.state == "up" && heartbeat.is_some() && *heartbeat <= self.old_heartbeat {
                facts.service.state = "unknown".to_owned();
            }
        }
        let holds = match read {
            Some((_, facts)) => self.until.holds(&facts, None).map_err(|error| Trouble::Facts(error.to_string()))?,
            None => false,
        };
        if holds {
            let what = format!("`{}` holds", self.until.as_str());
            return Ok(Verdict::Settled(Outcome::Done(Done::Seen { what })));
        }
        if since.elapsed().as_secs() < self.timeout_s {
            return Ok(Verdict::Pause(LOOK_AGAIN_MS));
        }
        Ok(Verdict::Settled(Outcome::Failed {
            reason: format!("`{}` did not come true within {} s", self.until.as_str(), self.timeout_s),
            fault: None,
            remedy: "see what the host waits for; when it is mended, resume waits again".to_owned(),
            output: None,
        }))
    }
}
