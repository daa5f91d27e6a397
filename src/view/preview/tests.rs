use super::preview;
use crate::view::fixture::{PLAIN, blocked_graph, graph};
#[test]
fn dump() {
    println!("{}", preview(&graph(), PLAIN));
    println!("{}", preview(&blocked_graph(), PLAIN));
    println!("{}", super::super::dot::dot(&graph()));
    println!("{}", super::super::mermaid::mermaid(&graph()));
    use crate::view::{Lines, View};
    for detailed in [false, true] {
        let mut lines = Lines::new(Vec::new(), PLAIN);
        if detailed {
            lines = lines.detailed();
        }
        for e in crate::view::fixture::night() {
            lines.update(&crate::event::Update::Event(e)).unwrap();
        }
        println!("{}", String::from_utf8(lines.into_inner()).unwrap());
    }
}
