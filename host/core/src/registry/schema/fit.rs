//! Whether what one schema allows can ever be what another takes: told only where no value at all could be both.
//!
//! Only types, members and items are looked at. Everything else of a schema is passed over, which makes what it allows
//! look larger than it is, so that nothing is refused that could fit. Work is bounded: whoever runs out of steps
//! is told nothing.

mod view;

use self::view::{ARRAY, BOOLEAN, FRACTION, INTEGER, NULL, OBJECT, STRING, Types, View};
use super::rules::{Rulebook, Type};
use cofferdam_domain::step::{Step, escaped};

/// The most schemas that are looked at for one answer.
const STEPS_MAX: u32 = 2_000;
/// The members of what stands for an output that is a file, and their types.
const FILE: [(&str, Types); 3] = [
    ("file", STRING),
    ("content_type", STRING),
    ("size_bytes", INTEGER),
];

/// What is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed<'a> {
    /// The parts of the pointer into the output.
    pub(crate) pointer: &'a [String],
    /// Whether the output is a list of what the schema is about.
    pub(crate) is_list: bool,
}

/// What it is passed to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Takes<'a> {
    /// A place in an input with that schema.
    Input(&'a Rulebook, &'a [Step]),
    /// Something that must be a list.
    List,
}

/// Why nothing that is passed on can ever be taken; none if something could, or nobody can tell.
pub(super) fn refusal(gives: &Rulebook, passed: Passed<'_>, takes: Takes<'_>) -> Option<String> {
    let mut steps = STEPS_MAX;
    let given = match Given::of(gives, passed, &mut steps)? {
        Ok(given) => given,
        Err(why) => return Some(why),
    };
    let (taken, at) = match takes {
        Takes::List => (Taken::List, String::new()),
        Takes::Input(book, place) => match at_place(book, place, &mut steps)? {
            Ok(view) => (Taken::View(view), told(place)),
            Err(why) => return Some(why),
        },
    };
    let accepted = taken.types(&mut steps);
    let other = taken.accepts_others(&given, &mut steps);
    if steps == 0 || other {
        return None;
    }
    if given.types & accepted == 0 {
        let place = match at.as_str() {
            "" => "the input".to_owned(),
            at => at.to_owned(),
        };
        let (given, accepted) = (words(given.types), words(accepted));
        return Some(match taken {
            Taken::List => format!("it is {given}, and map.over must be a list"),
            Taken::View(_) => format!("it is {given}, and {place} takes {accepted}"),
        });
    }
    taken.lacking(&given, &mut steps).map(|name| {
        let place = if at.is_empty() { "the input" } else { &at };
        format!("{place} must have {name:?}, which it never has")
    })
}

/// What is given.
struct Given<'b> {
    types: Types,
    view: View<'b>,
    /// Whether an output may come as a text instead.
    may_be_text: bool,
    /// Whether it may come as a file instead.
    may_be_file: bool,
}

impl<'b> Given<'b> {
    /// None if nobody can tell; an error if there can be nothing.
    fn of(
        book: &'b Rulebook,
        passed: Passed<'_>,
        steps: &mut u32,
    ) -> Option<Result<Given<'b>, String>> {
        let whole = View::whole(book);
        let is_whole = passed.pointer.is_empty();
        if passed.is_list && is_whole {
            return Some(Ok(Given {
                types: ARRAY,
                view: View::anything(book),
                may_be_text: false,
                may_be_file: true,
            }));
        }
        let parts = match (passed.is_list, passed.pointer) {
            (false, parts) => parts,
            (true, [first, parts @ ..]) if index(first).is_some() => parts,
            (true, _) => return Some(Err(nothing(passed.pointer))),
        };
        // What is an element, or the whole, may be a text that says something else.
        let may_be_text = parts.is_empty();
        let mut view = whole;
        for part in parts {
            let types = view.types(steps);
            let item = index(part).filter(|_| types & ARRAY != 0);
            let step = match (types & OBJECT != 0, item) {
                (true, None) => Step::Member(part.clone()),
                (false, Some(item)) => Step::Item(item),
                (true, Some(_)) => return None,
                (false, None) => return Some(Err(nothing(passed.pointer))),
            };
            view = view.step(&step, steps);
            if *steps > 0 && view.types(steps) == 0 {
                return Some(Err(nothing(passed.pointer)));
            }
        }
        Some(Ok(Given {
            types: view.types(steps),
            view,
            may_be_text,
            may_be_file: is_whole,
        }))
    }
}

fn nothing(pointer: &[String]) -> String {
    let place: String = pointer
        .iter()
        .map(|part| format!("/{}", escaped(part)))
        .collect();
    format!("it never has anything at {place}")
}

/// The place in a list that a part of a pointer may mean.
fn index(part: &str) -> Option<usize> {
    let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| part.parse().ok()).flatten()
}

/// What a place of an input takes; an error if there is no such place.
fn at_place<'b>(
    book: &'b Rulebook,
    place: &[Step],
    steps: &mut u32,
) -> Option<Result<View<'b>, String>> {
    let mut view = View::whole(book);
    for (depth, step) in place.iter().enumerate() {
        let container = match step {
            Step::Member(_) => OBJECT,
            Step::Item(_) => ARRAY,
        };
        let types = view.types(steps);
        let next = view.step(step, steps);
        let takes_nothing = types & container == 0 || next.types(steps) == 0;
        if *steps == 0 {
            return None;
        }
        if takes_nothing {
            return Some(Err(format!(
                "the input takes nothing at {}",
                told(&place[..=depth])
            )));
        }
        view = next;
    }
    Some(Ok(view))
}

fn told(place: &[Step]) -> String {
    place.iter().map(Step::to_string).collect()
}

/// What is taken.
enum Taken<'b> {
    View(View<'b>),
    List,
}

impl Taken<'_> {
    fn types(&self, steps: &mut u32) -> Types {
        match self {
            Taken::View(view) => view.types(steps),
            Taken::List => ARRAY,
        }
    }

    /// Whether a text or a file would do, where the output may come as one.
    fn accepts_others(&self, given: &Given<'_>, steps: &mut u32) -> bool {
        let Taken::View(view) = self else {
            return false;
        };
        let types = view.types(steps);
        if given.may_be_text && types & STRING != 0 {
            return true;
        }
        if !given.may_be_file || types & OBJECT == 0 {
            return false;
        }
        let is_file = |name: &str| FILE.iter().any(|(member, _)| *member == name);
        let needs_other = view.required(steps).iter().any(|name| !is_file(name));
        let members = FILE.iter().all(|(name, types)| {
            let member = view.step(&Step::Member((*name).to_owned()), steps);
            member.types(steps) & types != 0
        });
        !needs_other && members
    }

    /// A member that must be there and never is, where nothing but an object is given.
    fn lacking(&self, given: &Given<'_>, steps: &mut u32) -> Option<String> {
        let Taken::View(view) = self else {
            return None;
        };
        if given.types != OBJECT {
            return None;
        }
        let required = view.required(steps).into_iter();
        let mut lacking = required.filter(|name| {
            let member = given.view.step(&Step::Member((*name).clone()), steps);
            member.types(steps) == 0
        });
        let found = lacking.next().cloned();
        drop(lacking);
        found.filter(|_| *steps > 0)
    }
}

/// Types as people read them.
fn words(types: Types) -> String {
    let number = if types & FRACTION == 0 {
        Type::Integer
    } else {
        Type::Number
    };
    let named = [
        (NULL, Type::Null),
        (BOOLEAN, Type::Boolean),
        (OBJECT, Type::Object),
        (ARRAY, Type::Array),
        (STRING, Type::String),
        (INTEGER | FRACTION, number),
    ];
    let said = named.into_iter().filter(|(bits, _)| types & bits != 0);
    let said: Vec<&str> = said.map(|(_, named)| named.words()).collect();
    match said.is_empty() {
        true => "nothing".to_owned(),
        false => said.join(" or "),
    }
}

#[cfg(test)]
mod tests;
