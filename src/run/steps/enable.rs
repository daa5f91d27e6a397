//! Gives a host's compute service back exactly the state it had before this run, and reads it back. A host that was
//! disabled before stays so; one that somebody else has taken over meanwhile is theirs.

use async_trait::async_trait;

use super::disable::{service, shown};
use super::{Asked, Context, Intended, Kind, Trouble, Verdict, moving};
use crate::cloud::{Accepted, Ask, ComputeService, ServiceState, ServiceStatus};
use crate::compile::run_of_reason;
use crate::event::{Done, Intent, Outcome, ServiceBefore};

/// How old a reading may be for what it shows: an API server may read a database that lags behind another.
const READINGS_LAG_S: i64 = 30;

#[derive(Default)]
pub(super) struct Enable {
    /// As `already` read it a moment ago, for `intend`.
    row: Option<ComputeService>,
    /// It may be older than the disable.
    doubtful: bool,
}

#[async_trait]
impl Kind for Enable {
    async fn already(&mut self, cx: &Context) -> Result<Option<Done>, Trouble> {
        if cx.disabled.is_none() && !cx.only_gives_back {
            let what = "it was disabled before the run and stays so".to_owned();
            return Ok(Some(Done::Already { what }));
        }
        self.row = service(cx).await?;
        let enabled = self.row.as_ref().is_some_and(|service| service.status == ServiceStatus::Enabled);
        let fresh = |at: &jiff::Timestamp| cx.clock.now().duration_since(*at).as_secs() < READINGS_LAG_S;
        self.doubtful = enabled && cx.disabled_at.as_ref().is_some_and(fresh);
        Ok((enabled && !self.doubtful).then(|| Done::Already { what: "it is enabled already".to_owned() }))
    }

    async fn intend(&mut self, cx: &Context) -> Result<Intended, Trouble> {
        if self.doubtful {
            let reason = "it reads as enabled, which may be older than this run's disable".to_owned();
            let again_after_s = u64::try_from(READINGS_LAG_S).ok();
            return Ok(Intended::Settled(Outcome::Retryable { reason, fault: None, again_after_s }));
        }
        let host = &cx.step.host;
        let fail = |reason: String, remedy: String| {
            Intended::Settled(Outcome::Failed { reason, fault: None, remedy, output: None })
        };
        let Some(service) = self.row.take() else {
            return Ok(fail(
                format!("{host} has no nova-compute service any more"),
                "start nova-compute there".to_owned(),
            ));
        };
        let reason = service.disabled_reason.clone().unwrap_or_default();
        let ours = match &cx.disabled {
            Some(Intent::Disable { reason: ours, .. }) => *ours == reason,
            // What is given back was taken by a run of furlough's, whichever it was.
            _ => run_of_reason(&reason).is_some(),
        };
        if !ours {
            return Ok(fail(
                format!("its reason is now `{reason}`: somebody else holds it"),
                format!("ask them; `openstack compute service set --enable {host} nova-compute` when it is free"),
            ));
        }
        if service.state != ServiceState::Up && service.forced_down != Some(true) {
            return Ok(fail(
                "its nova-compute is not up, so enabling it would only hide that".to_owned(),
                "bring nova-compute back, then resume".to_owned(),
            ));
        }
        let restore = match &cx.disabled {
            Some(Intent::Disable { before, .. }) => before.clone(),
            // furlough only ever disables a service that is enabled.
            _ => ServiceBefore { status: ServiceStatus::Enabled, reason: None, forced_down: service.forced_down },
        };
        Ok(Intended::Ask(Intent::Enable { host: host.clone(), service_id: service.id, restore }))
    }

    async fn act(&mut self, cx: &Context, intent: &Intent) -> Result<Accepted, Trouble> {
        let Intent::Enable { host, service_id, .. } = intent else { return Err(super::unexpected(intent)) };
        super::ask(cx, Ask::EnableService { host: host.clone(), service_id: service_id.clone() }).await
    }

    fn refused(&self, _intent: &Intent, trouble: &Trouble) -> Option<Outcome> {
        moving::refused(trouble)
    }

    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let Some(asked) = asked else { return Ok(Verdict::Pause(0)) };
        let Intent::Enable { restore, .. } = &asked.intent else { return Err(super::unexpected(&asked.intent)) };
        let shows = service(cx).await?.is_some_and(|service| {
            service.status == restore.status
                && service.disabled_reason == restore.reason
                && service.forced_down == restore.forced_down
        });
        Ok(shown(shows, asked, "read back exactly as it was", "it does not read back as it was before"))
    }
}
