use std::path::{Path, PathBuf};

use super::load::{Loaded, compile_now, load};
use super::{Failure, Surroundings};
use crate::compile::Graph;
use crate::view;

const HELP: &str = "\
Reads the cloud and changes nothing. Exit code 3 means that something stands in the way; what it is and what to \
do about it comes first.

Examples:
  furlough plan reboot-rack-a.yaml
  furlough plan reboot-rack-a.yaml -o tonight.json      # review, then run that
  furlough plan tonight.json                            # look at it again
  furlough plan --format dot reboot-rack-a.yaml | dot -Tsvg > plan.svg";

#[derive(Debug, clap::Args)]
#[command(after_long_help = HELP)]
pub(super) struct Plan {
    /// The plan, or a compiled plan to look at; `-` is standard input.
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// How to show it.
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: Format,
    /// Save the compiled plan to this file, for `furlough run FILE`.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// Everything, for programs.
    Json,
    /// For graphviz.
    Dot,
    /// For forges and wikis.
    Mermaid,
}

impl Plan {
    pub(super) async fn execute(self, surroundings: &Surroundings) -> Result<u8, Failure> {
        if let Some(path) = &self.output
            && is_same_file(path, &self.plan)
        {
            return Err(Failure::usage(format!("-o {} would overwrite the plan itself", path.display()))
                .remedy("name another file, such as tonight.json"));
        }
        let graph = match load(&self.plan)? {
            Loaded::Plan { plan, .. } => compile_now(surroundings, &plan).await?.1,
            Loaded::Compiled(graph) => *graph,
        };
        super::print(&self.show(&graph, surroundings)?)?;
        if let Some(path) = &self.output {
            let text = graph.write()?;
            let name = path.display();
            std::fs::write(path, text).map_err(|error| Failure::failed(format!("cannot write {name}: {error}")))?;
            super::tell(&match graph.blockers.len() {
                0 => format!("saved as {name}; `furlough run {name}` executes it\n"),
                _ => format!("saved as {name}, with its blockers: it cannot be run\n"),
            });
        }
        Ok(if graph.blockers.is_empty() { 0 } else { 3 })
    }

    fn show(&self, graph: &Graph, surroundings: &Surroundings) -> Result<String, Failure> {
        Ok(match self.format {
            Format::Table => view::preview(graph, surroundings.out_style()),
            Format::Json => {
                let text = view::json(graph);
                text.map_err(|error| Failure::failed(format!("the graph cannot be written as JSON: {error}")))?
            }
            Format::Dot => view::dot(graph),
            Format::Mermaid => view::mermaid(graph),
        })
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().ok();
    whole(one).is_some_and(|one| Some(one) == whole(other))
}
