//! The position of a check in an input: a chain of steps on the stack, turned into text only for an
//! answer.

use cofferdam_domain::step::escaped;

/// The longest place that an answer names, in characters.
const CHARS_MAX: usize = 200;

/// One step into a value.
#[derive(Clone, Copy, Debug)]
pub(in crate::registry::schema) enum Step<'a> {
    Member(&'a str),
    Item(usize),
}

/// A place.
#[derive(Clone, Copy, Debug)]
pub(in crate::registry::schema) struct Place<'a> {
    last: Option<(&'a Place<'a>, Step<'a>)>,
}

impl Place<'_> {
    /// The whole input.
    pub(in crate::registry::schema) const fn whole() -> Place<'static> {
        Place { last: None }
    }

    /// One step further.
    pub(super) fn below<'b>(&'b self, step: Step<'b>) -> Place<'b> {
        Place {
            last: Some((self, step)),
        }
    }

    /// As a JSON pointer, cut if it is long.
    pub(super) fn pointer(&self) -> String {
        let mut steps = Vec::new();
        let mut place = self;
        while let Some((before, step)) = &place.last {
            steps.push(*step);
            place = before;
        }
        let mut text = String::new();
        for step in steps.into_iter().rev() {
            text.push('/');
            match step {
                Step::Item(number) => text.push_str(&number.to_string()),
                Step::Member(name) => {
                    let name = name.chars().take(CHARS_MAX).collect::<String>();
                    text.push_str(&escaped(&name));
                }
            }
        }
        match text.chars().count() > CHARS_MAX {
            false => text,
            true => text.chars().take(CHARS_MAX).chain(['…']).collect(),
        }
    }
}
