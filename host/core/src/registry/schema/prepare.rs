//! Reads the text of a schema into its rules.
//!
//! Every member is read by its position: `$ref` as the name of a property is a name, and the value
//! of an unknown keyword is ignored. Each schema of the document is read once, without recursion,
//! so the work is bounded by the text.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::{Map, Value};

use super::dialect::Dialect;
use super::pattern::Pattern;
use super::references::Resources;
use super::rules::{Id, Node, Rulebook, Rules};

mod endless;
mod rebase;
mod words;

pub(super) use rebase::rebase;

/// The longest schema.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// The most schemas within a schema.
const NODES_MAX: usize = 10_000;
/// The most patterns of one schema.
const PATTERNS_MAX: usize = 256;
/// The most bytes of their automata together.
const AUTOMATA_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The longest text of the caller that an answer repeats.
const QUOTE_CHARS_MAX: usize = 100;

/// Reads a schema. `more` says from time to time whether to go on.
pub(super) fn prepare(text: &str, more: &mut dyn FnMut() -> bool) -> Result<Rulebook, String> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!(
            "is {} bytes long; at most {TEXT_BYTES_MAX} are allowed",
            text.len()
        ));
    }
    let schema: Value =
        serde_json::from_str(text).map_err(|error| format!("is not valid JSON: {error}"))?;
    let book = Reader::new(&schema, Patterns::Made(more))?
        .read_document(&schema)?
        .book;
    endless::refuse(&book)?;
    Ok(book)
}

/// How patterns are prepared.
enum Patterns<'m> {
    /// They are compiled for as long as this returns true.
    Made(&'m mut dyn FnMut() -> bool),
    /// They are not compiled, because nobody will use them.
    Left,
}

/// Where a schema is in its document.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    Root,
    /// Under a keyword of the schema around it.
    Word(Id, &'a str),
    /// Under a name below such a keyword.
    Named(Id, &'a str, &'a str),
    /// In a list below such a keyword.
    Listed(Id, &'a str, usize),
    /// The target of a reference.
    Referred(Id),
}

/// A schema that was found and is not read yet.
struct Found<'a> {
    id: Id,
    value: &'a Value,
    part: usize,
}

/// A reference that waits until every name is known.
struct Waiting<'a> {
    id: Id,
    reference: &'a str,
    part: usize,
}

struct Reader<'a, 'm> {
    dialect: Dialect,
    resources: Resources<'a>,
    /// Schemas by their address in memory: each is read once.
    known: HashMap<*const Value, Id>,
    places: Vec<Place<'a>>,
    unread: VecDeque<Found<'a>>,
    waiting: Vec<Waiting<'a>>,
    patterns: HashMap<&'a str, usize>,
    automata_bytes: usize,
    /// Whether there is a dynamic reference, which is only supported in a document without named
    /// parts.
    is_dynamic: bool,
    /// Schemas of the root part that refer to another.
    referring: HashSet<*const Value>,
    book: Rulebook,
    more: Patterns<'m>,
}

impl<'a, 'm> Reader<'a, 'm> {
    fn new(schema: &'a Value, more: Patterns<'m>) -> Result<Self, String> {
        Ok(Reader {
            dialect: Dialect::of(schema)?,
            resources: Resources::new(schema),
            known: HashMap::new(),
            places: Vec::new(),
            unread: VecDeque::new(),
            waiting: Vec::new(),
            patterns: HashMap::new(),
            automata_bytes: 0,
            is_dynamic: false,
            referring: HashSet::new(),
            book: Rulebook {
                nodes: Vec::new(),
                patterns: Vec::new(),
            },
            more,
        })
    }

    fn read_document(mut self, schema: &'a Value) -> Result<Self, String> {
        self.position(schema, 0, Place::Root)?;
        self.read_all()?;
        Ok(self)
    }

    /// The number of the schema at this position.
    fn position(&mut self, value: &'a Value, part: usize, place: Place<'a>) -> Result<Id, String> {
        if let Some(id) = self.known.get(&std::ptr::from_ref(value)) {
            return Ok(*id);
        }
        let id = self.book.nodes.len();
        if id >= NODES_MAX {
            return Err(format!("has more than {NODES_MAX} schemas in it"));
        }
        self.known.insert(std::ptr::from_ref(value), id);
        self.places.push(place);
        self.book.nodes.push(Node::Always(true));
        self.unread.push_back(Found { id, value, part });
        Ok(id)
    }

    fn read_all(&mut self) -> Result<(), String> {
        loop {
            while let Some(found) = self.unread.pop_front() {
                let id = found.id;
                self.book.nodes[id] = self.read(&found).map_err(|why| self.blamed(id, &why))?;
            }
            // A reference may lead to a place that no keyword leads to.
            let Some(Waiting {
                id,
                reference,
                part,
            }) = self.waiting.pop()
            else {
                break;
            };
            let target = self.refer(id, reference, part).map_err(|why| {
                self.blamed(id, &format!("the reference {} {why}", quoted(reference)))
            })?;
            if let Node::Rules(rules) = &mut self.book.nodes[id] {
                rules.in_place.reference = Some(target);
            }
        }
        if self.is_dynamic && self.resources.has_parts() {
            return Err(
                "has both dynamic references and schemas with their own $id, which this host does \
                 not support together"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn refer(&mut self, id: Id, reference: &str, part: usize) -> Result<Id, String> {
        let (value, part) = self.resources.resolve(part, reference)?;
        self.position(value, part, Place::Referred(id))
    }

    fn read(&mut self, found: &Found<'a>) -> Result<Node, String> {
        match found.value {
            Value::Bool(always) => Ok(Node::Always(*always)),
            Value::Object(words) => self.rules(found, words),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Err("a schema is an object, true or false".to_owned())
            }
        }
    }

    fn rules(&mut self, found: &Found<'a>, words: &'a Map<String, Value>) -> Result<Node, String> {
        let Found { id, value, part } = *found;
        let reference = words::text(words, "$ref")?;
        let alone = reference.is_some() && self.dialect.reference_stands_alone();
        let mut part = part;
        if let Some(name) = words::text(words, self.dialect.id())?.filter(|_| !alone) {
            part = self.resources.name(part, name, value);
        }
        for anchor in ["$anchor", "$dynamicAnchor"] {
            if let Some(name) = words::text(words, anchor)? {
                self.resources.anchor(part, name, value);
            }
        }
        let mut reference = reference;
        for dynamic in ["$dynamicRef", "$recursiveRef"] {
            if let Some(name) = words::text(words, dynamic)? {
                self.is_dynamic = true;
                if reference.replace(name).is_some() {
                    return Err(format!("has both $ref and {dynamic}"));
                }
            }
        }
        if let Some(reference) = reference {
            if part == 0 {
                self.referring.insert(std::ptr::from_ref(value));
            }
            let waiting = Waiting {
                id,
                reference,
                part,
            };
            self.waiting.push(waiting);
        }
        let mut rules = Rules::default();
        let mut at = words::At {
            reader: self,
            id,
            part,
            words,
        };
        match alone {
            true => at.definitions()?,
            false => at.read(&mut rules)?,
        }
        Ok(Node::Rules(Box::new(rules)))
    }

    /// The number of a pattern; the same text is the same pattern.
    fn pattern(&mut self, text: &'a str) -> Result<usize, String> {
        if let Some(known) = self.patterns.get(text) {
            return Ok(*known);
        }
        let number = self.book.patterns.len();
        if number >= PATTERNS_MAX {
            return Err(format!("has more than {PATTERNS_MAX} patterns"));
        }
        match &mut self.more {
            Patterns::Left => return Ok(0),
            Patterns::Made(more) => {
                if !more() {
                    return Err("takes too long to prepare".to_owned());
                }
            }
        }
        let room = AUTOMATA_BYTES_MAX.saturating_sub(self.automata_bytes);
        let pattern = Pattern::compile(text, room)
            .map_err(|why| format!("the pattern {} {why}", quoted(text)))?;
        self.automata_bytes += pattern.automaton_bytes();
        self.book.patterns.push(pattern);
        self.patterns.insert(text, number);
        Ok(number)
    }

    /// Adds the place of the mistake.
    fn blamed(&self, id: Id, why: &str) -> String {
        let place = self.place(id);
        match place.is_empty() {
            true => why.to_owned(),
            false => format!("at {}: {why}", quoted(&place)),
        }
    }

    fn place(&self, id: Id) -> String {
        let mut steps = Vec::new();
        let mut at = id;
        loop {
            match self.places[at] {
                Place::Root => break,
                Place::Word(parent, word) => {
                    steps.push(format!("/{word}"));
                    at = parent;
                }
                Place::Named(parent, word, name) => {
                    steps.push(format!("/{word}/{name}"));
                    at = parent;
                }
                Place::Listed(parent, word, number) => {
                    steps.push(format!("/{word}/{number}"));
                    at = parent;
                }
                Place::Referred(parent) => {
                    steps.push("/$ref".to_owned());
                    at = parent;
                }
            }
        }
        steps.reverse();
        steps.concat()
    }
}

/// The caller's text, as an answer repeats it.
fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}
