use std::path::PathBuf;

use super::load::{Loaded, compile_now, load};
use super::{Failure, Surroundings};
use crate::compile::Graph;
use crate::view;

#[derive(Debug, clap::Args)]
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
        let graph = match load(&self.plan)? {
            Loaded::Plan { plan, .. } => compile_now(surroundings, &plan).await?.1,
            Loaded::Compiled(graph) => *graph,
        };
        super::print(&self.show(&graph, surroundings)?)?;
        if let Some(path) = &self.output {
            let text = graph.write()?;
            std::fs::write(path, text)
                .map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))?;
            eprintln!("saved as {}; `furlough run {}` executes it", path.display(), path.display());
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
