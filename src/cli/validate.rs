use std::path::PathBuf;

use super::load::{Loaded, load, name_of};
use super::{Failure, Surroundings};

const HELP: &str = "\
Every mistake of every plan is named with its line and column. What depends on the cloud, such as whether a host \
exists, is for `furlough plan`.

Examples:
  furlough validate reboot-rack-a.yaml
  furlough validate plans/*.yaml            # in CI: exit code 2 when one is wrong";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Validate {
    /// Plans to check; `-` is standard input.
    #[arg(required = true, value_name = "PLAN")]
    plans: Vec<PathBuf>,
}

impl Validate {
    /// Every plan is checked, and the worst answer counts.
    pub(super) fn execute(self, _surroundings: &Surroundings) -> Result<u8, Failure> {
        let mut code = 0;
        for path in &self.plans {
            let name = name_of(path);
            match load(path) {
                Ok(Loaded::Plan { plan, .. }) => super::print(&format!("{name}: `{}` is a valid plan\n", plan.name))?,
                Ok(Loaded::Compiled(graph)) => {
                    let (plan, steps) = (&graph.plan.name, graph.steps.len());
                    super::print(&format!("{name}: a compiled plan of `{plan}` with {steps} steps\n"))?;
                }
                Err(failure) => {
                    code = code.max(failure.code);
                    super::tell(&failure.render());
                }
            }
        }
        Ok(code)
    }
}
