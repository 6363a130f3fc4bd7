//! The value of a script as JSON: its text, or the first part of it that JSON cannot represent.
//!
//! Unlike JSON.stringify it leaves out and replaces nothing silently: a value that JSON would only
//! represent in part is refused. Like JSON.stringify it calls `toJSON` and getters. It is written
//! here and not in JavaScript, so that a script that changes its globals does not change what its
//! value means.

use rquickjs::convert::Coerced;
use rquickjs::object::Filter;
use rquickjs::{Ctx, FromJs, Function, Object, Value, qjs};

use crate::engine;
use crate::event_loop::{Stop, thrown};

/// The depth of nested containers; JSON readers refuse much deeper values.
const DEPTH_MAX: usize = 1000;

/// Whole numbers below this are written without an exponent, and exactly.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// QuickJS's numbers for the classes of objects; `check_classes` verifies them during the build.
mod class {
    pub(super) const OBJECT: u32 = 1;
    pub(super) const ARRAY: u32 = 2;
    pub(super) const NUMBER: u32 = 4;
    pub(super) const STRING: u32 = 5;
    pub(super) const BOOLEAN: u32 = 6;
    pub(super) const ARGUMENTS: u32 = 8;
    pub(super) const MAPPED_ARGUMENTS: u32 = 9;
    pub(super) const DATE: u32 = 10;
    pub(super) const MODULE: u32 = 11;
    pub(super) const PROXY: u32 = 51;

    pub(super) const EXAMPLES: [(&str, u32); 8] = [
        ("({})", OBJECT),
        ("[]", ARRAY),
        ("new Number(1)", NUMBER),
        ("new String('')", STRING),
        ("new Boolean(true)", BOOLEAN),
        ("(function () { return arguments })()", ARGUMENTS),
        ("new Date(0)", DATE),
        ("new Proxy({}, {})", PROXY),
    ];
}

/// Fails the build if the engine numbers its classes differently.
pub(crate) fn check_classes(ctx: &Ctx<'_>) {
    for (example, expected) in class::EXAMPLES {
        let value: Value = ctx.eval(example).expect("plain JavaScript");
        assert_eq!(class_of(&value), expected, "{example}");
    }
}

/// A value that JSON cannot represent.
pub(crate) struct Unsaid {
    /// Its place, and a description of it.
    pub(crate) message: String,
    /// The error that reports it.
    pub(crate) class: &'static str,
}

/// Why there is no JSON.
pub(crate) enum NoJson<'js> {
    Unsaid(Unsaid),
    Stop(Stop<'js>),
}

type Said<'js, T> = Result<T, NoJson<'js>>;

/// The value as JSON. A script without a value has null.
pub(crate) fn text<'js>(ctx: &Ctx<'js>, value: Value<'js>) -> Said<'js, String> {
    if value.is_undefined() {
        return Ok("null".to_owned());
    }
    let mut writer = Writer {
        ctx,
        text: String::new(),
        open: Vec::new(),
    };
    writer.value(value, &Key::Root)?;
    while let Some((key, value)) = writer.next()? {
        writer.value(value, &key)?;
    }
    Ok(writer.text)
}

struct Writer<'a, 'js> {
    ctx: &'a Ctx<'js>,
    text: String,
    /// The containers that are being written, the innermost last.
    open: Vec<Open<'js>>,
}

/// A container, and its part that is written next.
struct Open<'js> {
    object: Object<'js>,
    keys: Keys,
    at: u32,
}

enum Keys {
    Items(u32),
    Names(Vec<String>),
}

enum Key {
    Root,
    Item(u32),
    Name(String),
}

impl<'js> Writer<'_, 'js> {
    /// The next item of the innermost container; closes those that are done.
    fn next(&mut self) -> Said<'js, Option<(Key, Value<'js>)>> {
        loop {
            let Some(open) = self.open.last_mut() else {
                return Ok(None);
            };
            let key = match &open.keys {
                Keys::Items(count) if open.at < *count => Key::Item(open.at),
                Keys::Names(names) if (open.at as usize) < names.len() => {
                    Key::Name(names[open.at as usize].clone())
                }
                Keys::Items(_) | Keys::Names(_) => {
                    self.text.push(match open.keys {
                        Keys::Items(_) => ']',
                        Keys::Names(_) => '}',
                    });
                    self.open.pop();
                    continue;
                }
            };
            if open.at > 0 {
                self.text.push(',');
            }
            open.at += 1;
            let value = match &key {
                Key::Item(index) => open.object.get(*index),
                Key::Name(name) => open.object.get(name.as_str()),
                Key::Root => unreachable!("the value itself is in no container"),
            };
            let value = value.or_else(|_| self.threw("whose getter threw"))?;
            if let Key::Name(name) = &key {
                self.string(name);
                self.text.push(':');
            }
            return Ok(Some((key, value)));
        }
    }

    fn value(&mut self, value: Value<'js>, key: &Key) -> Said<'js, ()> {
        let value = self.replaced(value, key)?;
        if value.is_null() {
            self.text.push_str("null");
        } else if let Some(truth) = value.as_bool() {
            self.text.push_str(if truth { "true" } else { "false" });
        } else if let Some(number) = value.as_number() {
            self.number(number)?;
        } else if let Some(text) = value.as_string() {
            match text.to_string() {
                Ok(text) => self.string(&text),
                Err(_) => {
                    return self.unsaid(
                        "a string with half of a surrogate pair, which UTF-8 cannot encode",
                    );
                }
            }
        } else if value.is_object() && !value.is_function() {
            self.object(value)?;
        } else {
            return self.no_word(&value);
        }
        Ok(())
    }

    /// What the value's `toJSON` makes of it.
    fn replaced(&mut self, value: Value<'js>, key: &Key) -> Said<'js, Value<'js>> {
        let asked: rquickjs::Result<Value> = match value.as_object() {
            Some(object) => object.get("toJSON"),
            None if value.is_big_int() => property(self.ctx, &value, c"toJSON"),
            None => return Ok(value),
        };
        let to_json = asked.or_else(|_| self.threw("whose getter threw"))?;
        let Some(to_json) = to_json.into_function() else {
            return Ok(value);
        };
        let name = match key {
            Key::Root => String::new(),
            Key::Item(index) => index.to_string(),
            Key::Name(name) => name.clone(),
        };
        let this = rquickjs::prelude::This(value.clone());
        let replaced: Value =
            Function::call(&to_json, (this, name)).or_else(|_| self.threw("whose toJSON threw"))?;
        if replaced.is_null() && class_of(&value) == class::DATE {
            return self.unsaid("an invalid Date, which JSON cannot represent");
        }
        Ok(replaced)
    }

    fn number(&mut self, number: f64) -> Said<'js, ()> {
        if !number.is_finite() {
            let name = match number.is_nan() {
                true => "NaN",
                false if number > 0.0 => "Infinity",
                false => "-Infinity",
            };
            return self.unsaid(&format!("{name}, which is not a number in JSON"));
        }
        if number.fract() == 0.0 && number.abs() < EXACT_MAX {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
            self.text.push_str(&(number as i64).to_string());
            return Ok(());
        }
        let value = Value::new_number(self.ctx.clone(), number);
        let written: Coerced<String> = value.get().or_else(|_| self.threw("that threw"))?;
        self.text.push_str(&written.0);
        Ok(())
    }

    fn string(&mut self, text: &str) {
        let quoted = serde_json::to_string(text).expect("a string is JSON");
        self.text.push_str(&quoted);
    }

    fn object(&mut self, value: Value<'js>) -> Said<'js, ()> {
        match class_of(&value) {
            class::NUMBER => {
                let number: Coerced<f64> = value.get().or_else(|_| self.threw("that threw"))?;
                self.number(number.0)
            }
            class::STRING => {
                let text: Value = self.ask("textOf", &value)?;
                self.value(text, &Key::Root)
            }
            class::BOOLEAN => {
                // A Boolean object is truthy whatever it contains.
                let text: Coerced<String> = value.get().or_else(|_| self.threw("that threw"))?;
                self.text.push_str(&text.0);
                Ok(())
            }
            class::ARRAY => self.array(value),
            class::PROXY if self.ask("isArray", &value)? => self.array(value),
            class::OBJECT
            | class::ARGUMENTS
            | class::MAPPED_ARGUMENTS
            | class::MODULE
            | class::PROXY => self.fields(value),
            _ => self.no_word(&value),
        }
    }

    fn array(&mut self, value: Value<'js>) -> Said<'js, ()> {
        let object = self.enter(value)?;
        let count: u32 = object
            .get("length")
            .or_else(|_| self.threw("whose length cannot be read"))?;
        self.text.push('[');
        self.open.push(Open {
            object,
            keys: Keys::Items(count),
            at: 0,
        });
        Ok(())
    }

    fn fields(&mut self, value: Value<'js>) -> Said<'js, ()> {
        let object = self.enter(value.clone())?;
        let mut names = Vec::new();
        for name in object.keys::<rquickjs::String>() {
            let name = name.or_else(|_| self.threw("whose keys cannot be read"))?;
            match name.to_string() {
                Ok(name) => names.push(name),
                Err(_) => {
                    return self.unsaid("an object with a key that holds half of a surrogate pair");
                }
            }
        }
        let symbols = Filter::new().symbol().enum_only();
        if object.own_keys::<rquickjs::Atom>(symbols).next().is_some() {
            return self.unsaid("an object with a key that is a symbol; JSON's keys are strings");
        }
        if names.is_empty() && !self.is_plain(&object) {
            return self.no_word(&value);
        }
        self.text.push('{');
        self.open.push(Open {
            object,
            keys: Keys::Names(names),
            at: 0,
        });
        Ok(())
    }

    fn enter(&mut self, value: Value<'js>) -> Said<'js, Object<'js>> {
        if self
            .open
            .iter()
            .any(|open| open.object.as_value() == &value)
        {
            return self.unsaid("an object that contains itself");
        }
        if self.open.len() >= DEPTH_MAX {
            return Err(NoJson::Unsaid(Unsaid {
                message: format!(
                    "the result is a value of more than {DEPTH_MAX} nested containers"
                ),
                class: "RangeError",
            }));
        }
        Ok(value.into_object().expect("the caller saw an object"))
    }

    /// Whether an object has no class, so that `{}` represents all of it.
    fn is_plain(&self, object: &Object<'js>) -> bool {
        let Some(prototype) = object.get_prototype() else {
            return true;
        };
        // SAFETY: the class is one of the engine's.
        let plain = unsafe { qjs::JS_GetClassProto(self.ctx.as_raw().as_ptr(), class::OBJECT) };
        // SAFETY: the caller owns the reference.
        let plain = unsafe { Value::from_raw(self.ctx.clone(), plain) };
        prototype.as_value() == &plain
    }

    fn no_word<T>(&mut self, value: &Value<'js>) -> Said<'js, T> {
        let what: String = self.ask("wordFor", value)?;
        self.unsaid(&what)
    }

    /// The prelude's description of a value.
    fn ask<T: FromJs<'js>>(&self, name: &str, value: &Value<'js>) -> Said<'js, T> {
        let answer = engine::get()
            .prelude(self.ctx, name)
            .and_then(|function| function.call((value.clone(),)));
        answer.or_else(|_| self.threw("that cannot be read"))
    }

    fn unsaid<T>(&self, what: &str) -> Said<'js, T> {
        Err(NoJson::Unsaid(Unsaid {
            message: format!("{} is {what}", self.place()),
            class: "TypeError",
        }))
    }

    /// The error that a value of the script threw while it was read.
    fn threw<T>(&self, how: &str) -> Said<'js, T> {
        let error = thrown(self.ctx).map_err(NoJson::Stop)?;
        let shown = engine::get()
            .prelude(self.ctx, "brief")
            .and_then(|brief| brief.call((error,)));
        let shown: String = match shown {
            Ok(shown) => shown,
            Err(_) => {
                self.ctx.catch();
                "an error that cannot be shown".to_owned()
            }
        };
        self.unsaid(&format!("a value {how} {shown}"))
    }

    /// The path to the value that is being written, as a script would write it.
    fn place(&self) -> String {
        if self.open.is_empty() {
            return "the result".to_owned();
        }
        let mut place = "result".to_owned();
        for open in &self.open {
            let at = open.at.saturating_sub(1);
            match &open.keys {
                Keys::Names(names) => match names.get(at as usize) {
                    Some(name) if is_identifier(name) => {
                        place.push('.');
                        place.push_str(name);
                    }
                    Some(name) => {
                        let name: String = name.chars().take(NAME_SHOWN).collect();
                        place.push_str(&format!("[{}]", serde_json::json!(name)));
                    }
                    None => {}
                },
                Keys::Items(_) => place.push_str(&format!("[{at}]")),
            }
        }
        match place.char_indices().nth(PLACE_SHOWN) {
            Some((end, _)) => format!("{}…", &place[..end]),
            None => place,
        }
    }
}

/// Characters of a key, and of the whole path, that a message shows.
const NAME_SHOWN: usize = 80;
const PLACE_SHOWN: usize = 400;

fn is_identifier(name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    name.chars().count() <= NAME_SHOWN
        && name.starts_with(|c: char| word(c) && !c.is_numeric())
        && name.chars().all(word)
}

fn class_of(value: &Value<'_>) -> u32 {
    // SAFETY: this only reads the object's header.
    unsafe { qjs::JS_GetClassID(value.as_raw()) }
}

fn property<'js>(
    ctx: &Ctx<'js>,
    value: &Value<'js>,
    name: &std::ffi::CStr,
) -> rquickjs::Result<Value<'js>> {
    // SAFETY: the value is alive, and the name ends in NUL.
    let got =
        unsafe { qjs::JS_GetPropertyStr(ctx.as_raw().as_ptr(), value.as_raw(), name.as_ptr()) };
    // SAFETY: this only reads the tag.
    if unsafe { qjs::JS_IsException(got) } {
        return Err(rquickjs::Error::Exception);
    }
    // SAFETY: the caller owns the reference.
    Ok(unsafe { Value::from_raw(ctx.clone(), got) })
}
