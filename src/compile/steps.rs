//! The steps of a compiled plan, their names and what each needs. They are written down in the order of their waves,
//! so that every step stands after what it needs.

use std::collections::BTreeMap;

use super::{CompileError, GraphError, HostPlan, MAX_NEEDS, MAX_STEPS, Phase, ServerPlan, Step, StepId, StepKind};
use crate::cloud::ServerStatus;
use crate::plan::facts::HostFacts;
use crate::plan::{Action, Finish, Plan, Rung, Template};

/// Steps so far, within their bounds.
#[derive(Debug, Default)]
pub(super) struct Steps {
    steps: Vec<Step>,
    needs: usize,
}

impl Steps {
    /// Adds `host/name`.
    pub fn push(
        &mut self,
        host: &str,
        wave: u32,
        name: &str,
        kind: StepKind,
        needs: Vec<StepId>,
    ) -> Result<StepId, GraphError> {
        if self.steps.len() >= MAX_STEPS {
            return Err(GraphError::TooManySteps);
        }
        self.needs = self.needs.saturating_add(needs.len());
        if self.needs > MAX_NEEDS {
            return Err(GraphError::TooManyNeeds);
        }
        let id = step_id(host, name);
        self.steps.push(Step { id: id.clone(), host: host.to_owned(), wave, kind, needs });
        Ok(id)
    }

    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

pub(super) fn step_id(host: &str, name: &str) -> StepId {
    StepId(format!("{host}/{name}"))
}

/// A host with its facts and the servers on it.
pub(super) struct HostWork<'a> {
    pub host: &'a HostPlan,
    pub facts: &'a HostFacts,
    pub servers: Vec<&'a ServerPlan>,
}

/// All steps of a plan. `work` stands in the order of the waves.
pub(super) fn steps(plan: &Plan, work: &[HostWork<'_>]) -> Result<Vec<Step>, CompileError> {
    let mut waves: BTreeMap<u32, Vec<&HostWork<'_>>> = BTreeMap::new();
    for one in work {
        waves.entry(one.host.wave).or_default().push(one);
    }
    let mut steps = Steps::default();
    let mut before: Vec<StepId> = Vec::new();
    for (wave, hosts) in waves {
        let mut disabled = Vec::with_capacity(hosts.len());
        for one in &hosts {
            disabled.push(steps.push(&one.host.name, wave, "disable", StepKind::Disable, before.clone())?);
        }
        let mut listed = Vec::with_capacity(hosts.len());
        for one in &hosts {
            listed.push(steps.push(&one.host.name, wave, "list", StepKind::List, disabled.clone())?);
        }
        before.clear();
        for (one, list) in hosts.iter().zip(listed) {
            before.extend(host_steps(plan, one, list, &mut steps)?);
        }
    }
    Ok(steps.into_steps())
}

/// From the listing of one host to its last steps, which are returned.
fn host_steps(plan: &Plan, work: &HostWork<'_>, list: StepId, steps: &mut Steps) -> Result<Vec<StepId>, CompileError> {
    let (host, wave) = (&work.host.name, work.host.wave);
    let mut emptied = vec![list.clone()];
    for server in &work.servers {
        emptied.extend(push_move(steps, server, wave, None, vec![list.clone()])?);
    }
    let mut last = steps.push(host, wave, "empty", StepKind::Empty, emptied)?;
    for (phase, actions) in [(Phase::Maintain, &plan.maintain), (Phase::Verify, &plan.verify)] {
        for (index, action) in (1_u32..).zip(actions) {
            last = push_action(steps, work, phase, index, action, last)?;
        }
    }
    if plan.finish == Finish::KeepDisabled {
        // What was stopped stays off as long as the host is out of service; `furlough enable` starts it.
        return Ok(vec![last]);
    }
    let mut needs = vec![last.clone()];
    for server in work.servers.iter().filter(|server| may_stop(server)) {
        let kind = StepKind::Start { server: server.id.clone() };
        needs.push(steps.push(host, wave, &format!("start/{}", server.id), kind, vec![last.clone()])?);
    }
    Ok(vec![steps.push(host, wave, "enable", StepKind::Enable, needs)?])
}

/// The run might stop this server, so it has to start it again.
fn may_stop(server: &ServerPlan) -> bool {
    server.ladder.contains(&Rung::Stop) && server.status != ServerStatus::Shutoff
}

/// The step that moves a server, unless it stays or is blocked. `again` tells apart what comes back to a host.
pub(super) fn push_move(
    steps: &mut Steps,
    server: &ServerPlan,
    wave: u32,
    again: Option<u32>,
    needs: Vec<StepId>,
) -> Result<Option<StepId>, GraphError> {
    if server.ladder.is_empty() || server.ladder == [Rung::Leave] {
        return Ok(None);
    }
    let name = match again {
        None => format!("move/{}", server.id),
        Some(times) => format!("move/{}/{times}", server.id),
    };
    let kind = StepKind::Move { server: server.id.clone(), ladder: server.ladder.clone() };
    steps.push(&server.host, wave, &name, kind, needs).map(Some)
}

fn push_action(
    steps: &mut Steps,
    work: &HostWork<'_>,
    phase: Phase,
    index: u32,
    action: &Action,
    after: StepId,
) -> Result<StepId, CompileError> {
    let phase_word = match phase {
        Phase::Maintain => "maintain",
        Phase::Verify => "verify",
    };
    let (kind, word) = match action {
        Action::Run(command) => {
            let at = format!("{phase_word}[{}]", index.saturating_sub(1));
            let argv = render(&command.argv, &at, work.facts)?;
            (StepKind::Command { phase, index, argv, timeout_s: command.timeout_s }, "run")
        }
        Action::Wait(wait) => {
            (StepKind::Wait { phase, index, until: wait.until.clone(), timeout_s: wait.timeout_s }, "wait")
        }
    };
    let name = format!("{phase_word}/{index}-{word}");
    Ok(steps.push(&work.host.name, work.host.wave, &name, kind, vec![after])?)
}

fn render(argv: &[Template], at: &str, facts: &HostFacts) -> Result<Vec<String>, CompileError> {
    let error = |template: &Template, why: String| CompileError::Template {
        at: at.to_owned(),
        text: template.as_str().to_owned(),
        host: facts.name.clone(),
        why,
    };
    let mut rendered = Vec::with_capacity(argv.len());
    for template in argv {
        let text = template.render(facts).map_err(|fault| error(template, fault.to_string()))?;
        if rendered.is_empty() && text.trim().is_empty() {
            return Err(error(template, "it gives no program to run".to_owned()));
        }
        rendered.push(text);
    }
    Ok(rendered)
}
