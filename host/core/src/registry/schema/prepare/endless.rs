//! Schemas that refer back to themselves without going into their input: they have no meaning.

use crate::registry::schema::rules::{Id, Node, Rulebook};

/// Refuses them.
pub(super) fn refuse(book: &Rulebook) -> Result<(), String> {
    const OPEN: u8 = 1;
    const DONE: u8 = 2;
    let children = |id: Id| match &book.nodes[id] {
        Node::Rules(rules) => rules.in_place.all_ids().collect(),
        Node::Always(_) => Vec::new(),
    };
    let mut state = vec![0; book.nodes.len()];
    for start in 0..book.nodes.len() {
        if state[start] == DONE {
            continue;
        }
        state[start] = OPEN;
        let mut path = vec![(start, children(start))];
        while let Some((id, left)) = path.last_mut() {
            match left.pop() {
                None => {
                    state[*id] = DONE;
                    path.pop();
                }
                Some(child) if state[child] == OPEN => {
                    return Err("has a reference that leads back to itself".to_owned());
                }
                Some(child) if state[child] == DONE => {}
                Some(child) => {
                    state[child] = OPEN;
                    path.push((child, children(child)));
                }
            }
        }
    }
    Ok(())
}
