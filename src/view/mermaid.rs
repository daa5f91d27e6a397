//! A graph as a Mermaid flowchart, for pages that draw it. Beyond [`MOST_STEPS`] steps, one node a host.

use super::dot::Drawing;
use super::text::clean;
use crate::compile::Graph;

/// Mermaid refuses more than 500 edges (`maxEdges`), and a step has rarely more than two.
const MOST_STEPS: usize = 200;

/// The graph as a Mermaid flowchart.
pub fn mermaid(graph: &Graph) -> String {
    let drawing = Drawing::of(graph, MOST_STEPS);
    let mut lines = vec!["flowchart LR".to_owned()];
    for cluster in &drawing.clusters {
        let indent = if drawing.collapsed { "  " } else { "    " };
        if !drawing.collapsed {
            lines.push(format!("  subgraph {}[{}]", cluster.name, quoted(&cluster.label)));
        }
        for node in &cluster.nodes {
            lines.push(format!("{indent}{}[{}]", node.name, quoted(&node.label)));
        }
        if !drawing.collapsed {
            lines.push("  end".to_owned());
        }
    }
    lines.extend(drawing.edges.iter().map(|(from, to)| format!("  {from} --> {to}")));
    lines.join("\n") + "\n"
}

/// A Mermaid string: everything that means something to it, to HTML or to Markdown becomes a character reference.
fn quoted(label: &str) -> String {
    let mut text = String::from("\"");
    for (index, line) in label.split('\n').enumerate() {
        if index > 0 {
            text.push_str("<br/>");
        }
        for character in clean(line).chars() {
            match character {
                '"' | '#' | '<' | '>' | '&' | '`' | '\\' | '*' | '_' | '[' | ']' | '{' | '}' | '%' | ';' => {
                    text.push_str(&format!("#{};", u32::from(character)));
                }
                other => text.push(other),
            }
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
