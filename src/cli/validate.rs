use std::path::PathBuf;

use super::load::{Loaded, load};
use super::{Failure, Surroundings};

#[derive(Debug, clap::Args)]
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
            let name = path.display();
            match load(path) {
                Ok(Loaded::Plan { plan, .. }) => println!("{name}: `{}` is a valid plan", plan.name),
                Ok(Loaded::Compiled(graph)) => {
                    println!("{name}: a compiled plan of `{}` with {} steps", graph.plan.name, graph.steps.len());
                }
                Err(failure) => {
                    code = code.max(failure.code);
                    eprint!("{}", failure.render());
                }
            }
        }
        Ok(code)
    }
}
