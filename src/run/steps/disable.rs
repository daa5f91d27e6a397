//! Takes a host's compute service out of scheduling, with our reason and run id in it, and reads it back.

use async_trait::async_trait;

use super::{Asked, Context, Intended, Kind, Trouble, Undo, Verdict, moving};
use crate::cloud::{Accepted, Ask, ComputeService, ServiceState, ServiceStatus};
use crate::compile::{disabled_reason, run_of_reason};
use crate::event::{Done, Intent, Outcome, ServiceBefore};

/// A change of a service shows at once; not to show for this long means that the request never arrived.
const SHOWS_WITHIN_S: u64 = 20;

#[derive(Default)]
pub(super) struct Disable {
    /// As `already` read it a moment ago, for `intend`.
    row: Option<ComputeService>,
}

#[async_trait]
impl Kind for Disable {
    async fn already(&mut self, cx: &Context) -> Result<Option<Done>, Trouble> {
        self.row = service(cx).await?;
        Ok(self.row.clone().filter(|service| service.status == ServiceStatus::Disabled).and_then(|service| {
            let reason = service.disabled_reason.unwrap_or_default();
            match run_of_reason(&reason) {
                Some(run) if run != cx.run.0 => None,
                Some(_) => Some(Done::Already { what: "this run disabled it".to_owned() }),
                None => {
                    Some(Done::Already { what: format!("it was disabled before ({reason}), and stays so afterwards") })
                }
            }
        }))
    }

    async fn intend(&mut self, cx: &Context) -> Result<Intended, Trouble> {
        let host = &cx.step.host;
        let fail = |reason: String, remedy: &str| {
            Intended::Settled(Outcome::Failed { reason, fault: None, remedy: remedy.to_owned(), output: None })
        };
        let Some(service) = self.row.take() else {
            return Ok(fail(format!("{host} has no nova-compute service any more"), "take it out of the plan"));
        };
        let reason = service.disabled_reason.clone().unwrap_or_default();
        let other = run_of_reason(&reason).filter(|run| *run != cx.run.0);
        #[cfg(test)]
        let other = other.filter(|_| !crate::run::Sabotage::TakesTheirHost.is_on());
        if let Some(run) = other {
            let remedy = format!("end that run first: `furlough status {run}`, `furlough resume {run}`");
            return Ok(fail(format!("run {run} holds it"), &remedy));
        }
        if service.state != ServiceState::Up {
            return Ok(fail(
                "its nova-compute is not up, so nothing can be moved off it".to_owned(),
                "bring nova-compute back, or fence the host and evacuate it",
            ));
        }
        Ok(Intended::Ask(Intent::Disable {
            host: host.clone(),
            service_id: service.id,
            before: ServiceBefore {
                status: service.status,
                reason: service.disabled_reason,
                forced_down: service.forced_down,
            },
            reason: disabled_reason(&cx.run.0, &cx.plan.name),
        }))
    }

    async fn act(&mut self, cx: &Context, intent: &Intent) -> Result<Accepted, Trouble> {
        let Intent::Disable { host, service_id, reason, .. } = intent else { return Err(super::unexpected(intent)) };
        let ask = Ask::DisableService { host: host.clone(), service_id: service_id.clone(), reason: reason.clone() };
        super::ask(cx, ask).await
    }

    fn refused(&self, _intent: &Intent, trouble: &Trouble) -> Option<Outcome> {
        moving::refused(trouble)
    }

    async fn settle(&mut self, cx: &Context, asked: Option<&Asked>) -> Result<Verdict, Trouble> {
        let Some(asked) = asked else { return Ok(Verdict::Pause(0)) };
        let Intent::Disable { reason, .. } = &asked.intent else { return Err(super::unexpected(&asked.intent)) };
        #[cfg(test)]
        if crate::run::Sabotage::DoesNotReadBack.is_on() {
            return Ok(shown(true, asked, "", ""));
        }
        let shows = service(cx).await?.is_some_and(|service| {
            service.status == ServiceStatus::Disabled && service.disabled_reason.as_deref() == Some(reason)
        });
        Ok(shown(shows, asked, "read back as disabled", "it does not read back as disabled"))
    }

    fn undo(&self, intent: &Intent) -> Undo {
        match intent {
            Intent::Disable { host, service_id, before, .. } => Undo::Ask(Intent::Enable {
                host: host.clone(),
                service_id: service_id.clone(),
                restore: before.clone(),
            }),
            _ => Undo::Nothing,
        }
    }
}

/// The row of this step's host; `None` when Nova has none.
pub(super) async fn service(cx: &Context) -> Result<Option<ComputeService>, Trouble> {
    let services = cx.cloud.services(Some(&cx.step.host)).await?;
    Ok(services.into_iter().find(|service| service.host == cx.step.host))
}

/// A change of a service, read back: seen, or worth asking again once it should long have shown.
pub(super) fn shown(shows: bool, asked: &Asked, what: &str, missing: &str) -> Verdict {
    if shows {
        return Verdict::Settled(Outcome::Done(Done::Seen { what: what.to_owned() }));
    }
    if asked.since_s() < SHOWS_WITHIN_S {
        return Verdict::Pause(1000);
    }
    let reason = format!("{missing} after {SHOWS_WITHIN_S} s");
    Verdict::Settled(Outcome::Retryable { reason, fault: None, again_after_s: Some(0) })
}
