//! The graph of a workflow: its nodes by name, and which of them wait for which.
//!
//! A [`Graph`] has been checked: it has no cycle, and every edge joins two of its nodes. What a node does is not known
//! here, so that the check is the same for everything that can be a node.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// The most nodes of one workflow.
pub const NODES_MAX: usize = 1_000;
/// The most edges of one workflow.
pub const EDGES_MAX: usize = 10_000;
/// The most nodes of a cycle that are named.
const TOLD_MAX: usize = 8;

/// A node's name within its workflow.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(String);

impl NodeName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Reads a name: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`, which is the name of a file as well.
    pub fn parse(text: &str) -> Result<NodeName, BadGraph> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let starts_well = text.bytes().next().is_some_and(plain);
        let allowed = |byte: u8| plain(byte) || b".-".contains(&byte);
        match starts_well && text.len() <= NodeName::BYTES_MAX && text.bytes().all(allowed) {
            true => Ok(NodeName(text.to_owned())),
            false => Err(BadGraph::Name(text.to_owned())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for NodeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why nodes and edges are no graph of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGraph {
    /// The text is not a node's name.
    #[error(
        "{0:?} is not a node's id, which is 1 to 64 of A-Z a-z 0-9 _ . - and begins with a letter, a digit or _"
    )]
    Name(String),
    /// It has no node.
    #[error("a workflow has at least one node")]
    Empty,
    /// It has too many nodes.
    #[error("a workflow has at most {NODES_MAX} nodes, not {0}")]
    TooManyNodes(usize),
    /// It has too many edges.
    #[error("a workflow has at most {EDGES_MAX} edges, not {0}")]
    TooManyEdges(usize),
    /// Two nodes have one name.
    #[error("two nodes have the id {0}")]
    Twice(NodeName),
    /// An edge names a node that is not there.
    #[error("the edge from {from:?} to {to:?} names {unknown:?}, which is no node")]
    Unknown {
        /// Where the edge begins.
        from: String,
        /// Where it ends.
        to: String,
        /// The one of both that is no node.
        unknown: String,
    },
    /// Nodes wait for each other.
    #[error("nodes wait for each other: {}", told(.0))]
    Cycle(Vec<NodeName>),
}

/// The cycle as people read it.
fn told(cycle: &[NodeName]) -> String {
    let mut names: Vec<&str> = cycle.iter().take(TOLD_MAX).map(NodeName::as_str).collect();
    if cycle.len() > TOLD_MAX {
        names.push("…");
    }
    names.extend(cycle.first().map(NodeName::as_str));
    names.join(" → ")
}

/// Nodes and edges without a cycle. Nodes are known by their place, from 0, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    names: Vec<NodeName>,
    /// The places in the order of the names.
    sorted: Vec<usize>,
    parents: Vec<Vec<usize>>,
    children: Vec<Vec<usize>>,
}

impl Graph {
    /// Checks nodes and edges. An edge that is given twice is one edge.
    pub fn of(names: Vec<NodeName>, edges: &[(String, String)]) -> Result<Graph, BadGraph> {
        if names.is_empty() {
            return Err(BadGraph::Empty);
        }
        if names.len() > NODES_MAX {
            return Err(BadGraph::TooManyNodes(names.len()));
        }
        if edges.len() > EDGES_MAX {
            return Err(BadGraph::TooManyEdges(edges.len()));
        }
        let places = places(&names)?;
        let mut parents = vec![BTreeSet::new(); names.len()];
        let mut children = vec![BTreeSet::new(); names.len()];
        for (from, to) in edges {
            let place = |name: &String| {
                places
                    .get(name.as_str())
                    .copied()
                    .ok_or_else(|| BadGraph::Unknown {
                        from: from.clone(),
                        to: to.clone(),
                        unknown: name.clone(),
                    })
            };
            let (parent, child) = (place(from)?, place(to)?);
            parents[child].insert(parent);
            children[parent].insert(child);
        }
        let listed = |sets: Vec<BTreeSet<usize>>| -> Vec<Vec<usize>> {
            sets.into_iter()
                .map(|set| set.into_iter().collect())
                .collect()
        };
        let (parents, children) = (listed(parents), listed(children));
        match levels(&parents, &children) {
            Ok(_levels) => Ok(Graph {
                sorted: {
                    let mut sorted: Vec<usize> = (0..names.len()).collect();
                    sorted.sort_by_key(|place| &names[*place]);
                    sorted
                },
                names,
                parents,
                children,
            }),
            Err(stuck) => {
                let cycle = cycle(&parents, &stuck);
                Err(BadGraph::Cycle(
                    cycle
                        .into_iter()
                        .map(|place| names[place].clone())
                        .collect(),
                ))
            }
        }
    }

    /// How many nodes there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The node of that name.
    pub fn place(&self, name: &str) -> Option<usize> {
        let name_at = |place: &usize| self.names[*place].as_str();
        let found = self
            .sorted
            .binary_search_by(|place| name_at(place).cmp(name));
        found.ok().map(|found| self.sorted[found])
    }

    /// The names, by their places.
    pub fn names(&self) -> &[NodeName] {
        &self.names
    }

    /// The nodes that the one at `place` waits for, in order.
    pub fn parents(&self, place: usize) -> &[usize] {
        &self.parents[place]
    }

    /// The nodes that wait for the one at `place`, in order.
    pub fn children(&self, place: usize) -> &[usize] {
        &self.children[place]
    }

    /// Whether an edge leads from `parent` to `child`.
    pub fn has_edge(&self, parent: usize, child: usize) -> bool {
        self.parents[child].binary_search(&parent).is_ok()
    }
}

fn places(names: &[NodeName]) -> Result<HashMap<&str, usize>, BadGraph> {
    let mut places = HashMap::with_capacity(names.len());
    for (place, name) in names.iter().enumerate() {
        if places.insert(name.as_str(), place).is_some() {
            return Err(BadGraph::Twice(name.clone()));
        }
    }
    Ok(places)
}

/// The level of each node: 0 if it waits for none, else one more than the deepest of its parents. If there is a
/// cycle, which nodes have parents without a level.
pub fn levels(parents: &[Vec<usize>], children: &[Vec<usize>]) -> Result<Vec<usize>, Vec<bool>> {
    let mut waiting: Vec<usize> = parents.iter().map(Vec::len).collect();
    let mut levels = vec![0; parents.len()];
    let mut ready: VecDeque<usize> = (0..parents.len()).filter(|it| waiting[*it] == 0).collect();
    let mut done = 0;
    while let Some(place) = ready.pop_front() {
        done += 1;
        for child in &children[place] {
            levels[*child] = levels[*child].max(levels[place] + 1);
            waiting[*child] -= 1;
            if waiting[*child] == 0 {
                ready.push_back(*child);
            }
        }
    }
    match done == parents.len() {
        true => Ok(levels),
        false => Err(waiting.into_iter().map(|left| left > 0).collect()),
    }
}

/// One cycle among the nodes that are stuck, in the order of its edges.
fn cycle(parents: &[Vec<usize>], stuck: &[bool]) -> Vec<usize> {
    let mut path: Vec<usize> = Vec::new();
    let mut at = stuck.iter().position(|it| *it).unwrap_or_default();
    loop {
        if let Some(begin) = path.iter().position(|other| *other == at) {
            let mut cycle = path.split_off(begin);
            cycle.reverse();
            return cycle;
        }
        path.push(at);
        // Whatever is stuck has a parent that is stuck, so the walk comes back to itself.
        match parents[at].iter().find(|parent| stuck[**parent]) {
            Some(parent) => at = *parent,
            None => return path,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(names: &str, edges: &str) -> Result<Graph, BadGraph> {
        let names = names.split_whitespace().map(NodeName::parse);
        let edges = edges.split_whitespace().map(|edge| {
            let (from, to) = edge.split_once('>').unwrap();
            (from.to_owned(), to.to_owned())
        });
        let edges: Vec<_> = edges.collect();
        Graph::of(names.collect::<Result<_, _>>()?, &edges)
    }

    #[test]
    fn a_diamond_has_three_levels() {
        let diamond = graph("d b c a", "a>b a>c b>d c>d a>b").unwrap();
        assert_eq!(
            levels(&diamond.parents, &diamond.children).unwrap(),
            [2, 1, 1, 0]
        );
        assert_eq!(diamond.parents(0), [1, 2]);
        assert_eq!(diamond.children(3), [1, 2]);
        assert_eq!(diamond.place("a"), Some(3));
        assert_eq!((diamond.place("x"), diamond.len()), (None, 4));
        assert!(diamond.has_edge(3, 1) && !diamond.has_edge(1, 3) && !diamond.has_edge(3, 0));
        assert_eq!(diamond.names()[2].as_str(), "c");
    }

    #[test]
    fn a_cycle_is_told_with_its_nodes() {
        let told = |names, edges| graph(names, edges).unwrap_err().to_string();
        assert_eq!(told("a", "a>a"), "nodes wait for each other: a → a");
        let three = told("x a b c y", "x>a a>b b>c c>a c>y");
        assert_eq!(three, "nodes wait for each other: b → c → a → b");
        let names: Vec<String> = (0..20).map(|number| format!("n{number}")).collect();
        let edges: Vec<String> = (0..20)
            .map(|it| format!("n{it}>n{}", (it + 1) % 20))
            .collect();
        let long = told(&names.join(" "), &edges.join(" "));
        assert!(long.ends_with("… → n1"), "{long}");
    }

    #[test]
    fn what_is_no_graph_is_refused_by_name() {
        let told = |names: &str, edges: &str| graph(names, edges).unwrap_err().to_string();
        assert!(told("", "").contains("at least one"));
        assert_eq!(told("a b a", ""), "two nodes have the id a");
        let unknown = told("a b", "a>b b>c");
        assert_eq!(
            unknown,
            r#"the edge from "b" to "c" names "c", which is no node"#
        );
        for bad in ["", "-a", "a/b", "a[0]", "$input", "ä", &"a".repeat(65)] {
            assert_eq!(NodeName::parse(bad), Err(BadGraph::Name(bad.to_owned())));
        }
        let many: Vec<String> = (0..=NODES_MAX).map(|number| format!("n{number}")).collect();
        assert!(told(&many.join(" "), "").contains("not 1001"));
        assert!(told("a b", &"a>b ".repeat(EDGES_MAX + 1)).contains("not 10001"));
        assert_eq!(graph(&many[1..].join(" "), "").unwrap().len(), NODES_MAX);
    }

    /// Graphs of chance, against the definition: an order exists exactly if every edge can go forward in it.
    #[test]
    fn graphs_of_chance_have_levels_or_a_cycle() {
        let mut state: u64 = 7;
        let mut dice = move |sides: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap() % sides
        };
        let (mut cycles, mut orders) = (0, 0);
        for _ in 0..2_000 {
            let nodes = 1 + dice(8);
            let names: Vec<NodeName> = (0..nodes)
                .map(|it| NodeName::parse(&format!("n{it}")).unwrap())
                .collect();
            let edges: Vec<(String, String)> = (0..dice(10))
                .map(|_| (format!("n{}", dice(nodes)), format!("n{}", dice(nodes))))
                .collect();
            match Graph::of(names, &edges) {
                Ok(graph) => {
                    orders += 1;
                    let levels = levels(&graph.parents, &graph.children).unwrap();
                    for (from, to) in &edges {
                        let (from, to) = (graph.place(from).unwrap(), graph.place(to).unwrap());
                        assert!(levels[from] < levels[to]);
                        assert!(graph.has_edge(from, to));
                    }
                }
                Err(BadGraph::Cycle(cycle)) => {
                    cycles += 1;
                    for (place, from) in cycle.iter().enumerate() {
                        let to = &cycle[(place + 1) % cycle.len()];
                        let edge = (from.as_str().to_owned(), to.as_str().to_owned());
                        assert!(edges.contains(&edge), "{cycle:?} {edges:?}");
                    }
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert!(cycles > 100 && orders > 100, "{cycles} {orders}");
    }
}
