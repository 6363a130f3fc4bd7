//! The graphs that everybody works.

use serde_json::{Value, json};

/// How many nodes a workflow has.
pub(super) const SIZES: [usize; 3] = [5, 15, 30];

/// How its nodes depend on each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Levels, whose nodes have two parents each; the first and the last have one node.
    Layered,
    /// Node i waits for nodes 2i+1 and 2i+2. It is all that some peers know.
    Tree,
}

/// A graph: of each node, in an order in which parents come first, its parents. The last node ends last.
#[derive(Clone, Debug)]
pub(super) struct Graph {
    pub(super) parents: Vec<Vec<usize>>,
}

impl Shape {
    pub(super) const ALL: [Shape; 2] = [Shape::Layered, Shape::Tree];

    pub(super) fn word(self) -> &'static str {
        match self {
            Shape::Layered => "layered",
            Shape::Tree => "tree",
        }
    }

    /// The graph with that many nodes.
    pub(super) fn graph(self, nodes: usize) -> Graph {
        let parents = match self {
            Shape::Layered => layered(nodes),
            Shape::Tree => (0..nodes)
                .rev()
                .map(|node| [2 * node + 1, 2 * node + 2])
                // The root comes last, so that its number is the largest.
                .map(|two| two.into_iter().filter(|parent| *parent < nodes))
                .map(|two| two.map(|parent| nodes - 1 - parent).collect())
                .collect(),
        };
        Graph { parents }
    }
}

fn layered(nodes: usize) -> Vec<Vec<usize>> {
    let levels: &[usize] = match nodes {
        5 => &[1, 3, 1],
        15 => &[1, 4, 5, 4, 1],
        _ => &[1, 7, 7, 7, 7, 1],
    };
    let (mut all, mut before) = (Vec::new(), 0..0);
    for level in levels {
        let first = all.len();
        for at in 0..*level {
            let parents: Vec<usize> = match before.len() {
                _ if *level == 1 => before.clone().collect(),
                0 => Vec::new(),
                1 => vec![before.start],
                wide => vec![before.start + at % wide, before.start + (at + 1) % wide],
            };
            all.push(parents);
        }
        before = first..all.len();
    }
    all
}

impl Graph {
    /// As our API takes it.
    pub(super) fn request(&self) -> String {
        let nodes: Vec<Value> = (0..self.parents.len())
            .map(|node| json!({"id": format!("n{node}"), "module": "echo", "input": {"n": node}}))
            .collect();
        let edges: Vec<[String; 2]> = self
            .parents
            .iter()
            .enumerate()
            .flat_map(|(node, parents)| {
                parents
                    .iter()
                    .map(move |parent| [format!("n{parent}"), format!("n{node}")])
            })
            .collect();
        json!({"nodes": nodes, "edges": edges}).to_string()
    }

    /// As the peers' scripts take it: of each node its parents.
    pub(super) fn for_peers(&self) -> String {
        json!(self.parents).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_the_last_node_ends_last() {
        for shape in Shape::ALL {
            for size in SIZES {
                let graph = shape.graph(size);
                assert_eq!(graph.parents.len(), size);
                let mut leads_on = vec![false; size];
                for (node, parents) in graph.parents.iter().enumerate() {
                    for parent in parents {
                        assert!(*parent < node, "{shape:?} {size}");
                        leads_on[*parent] = true;
                    }
                }
                let (last, others) = leads_on.split_last().unwrap();
                assert!(
                    !last && others.iter().all(|leads| *leads),
                    "{shape:?} {size}"
                );
            }
        }
    }
}
