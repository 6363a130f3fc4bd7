//! Schemas that refer back to themselves without going into their input: they have no meaning.

use crate::registry::schema::rules::{Id, Node, Rulebook};

/// What is known of a schema.
#[derive(Clone, Copy)]
enum Seen {
    Never,
    /// What it refers to is being followed.
    Open,
    /// Nothing that it refers to leads back.
    Done,
}

/// Refuses them.
pub(super) fn refuse(book: &Rulebook) -> Result<(), String> {
    let children = |id: Id| match &book.nodes[id] {
        Node::Rules(rules) => rules.in_place.all_ids().collect(),
        Node::Always(_) => Vec::new(),
    };
    let mut seen = vec![Seen::Never; book.nodes.len()];
    for start in 0..book.nodes.len() {
        if matches!(seen[start], Seen::Done) {
            continue;
        }
        seen[start] = Seen::Open;
        let mut path = vec![(start, children(start))];
        while let Some((id, left)) = path.last_mut() {
            let Some(child) = left.pop() else {
                seen[*id] = Seen::Done;
                path.pop();
                continue;
            };
            match seen[child] {
                Seen::Never => {
                    seen[child] = Seen::Open;
                    path.push((child, children(child)));
                }
                Seen::Open => return Err("has a reference that leads back to itself".to_owned()),
                Seen::Done => {}
            }
        }
    }
    Ok(())
}
