//! The keywords of JSON Schema, one by one: the allowed values, and the rule that each becomes.
//!
//! Unknown keywords, and those that only describe (`title`, `format`, …), are not checked.

use serde_json::{Map, Number, Value};

use super::{Id, Place, Reader, Rules};
use crate::registry::schema::dialect::Dialect;
use crate::registry::schema::rules::{
    ArrayRules, Condition, Contains, NumberRules, ObjectRules, TextRules, Type, Types,
};

/// One schema while it is read.
pub(super) struct At<'r, 'a, 'm> {
    pub(super) reader: &'r mut Reader<'a, 'm>,
    pub(super) id: Id,
    pub(super) part: usize,
    pub(super) words: &'a Map<String, Value>,
}

/// The text under a keyword.
pub(super) fn text<'a>(
    words: &'a Map<String, Value>,
    word: &str,
) -> Result<Option<&'a str>, String> {
    match words.get(word) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{word} must be a string")),
    }
}

impl<'a> At<'_, 'a, '_> {
    pub(super) fn read(&mut self, rules: &mut Rules) -> Result<(), String> {
        self.definitions()?;
        rules.types = self.types()?;
        rules.values = match self.words.get("enum") {
            None => None,
            Some(values) => Some(list("enum", values)?.clone()),
        };
        // Draft 4 does not have this keyword.
        if self.dialect() > Dialect::Draft4 {
            rules.value = self.words.get("const").cloned();
        }
        rules.number = self.numbers()?;
        rules.text = TextRules {
            least: self.count("minLength")?,
            most: self.count("maxLength")?,
            pattern: match text(self.words, "pattern")? {
                None => None,
                Some(pattern) => Some(self.reader.pattern(pattern)?),
            },
        };
        rules.array = self.array()?.map(Box::new);
        rules.object = self.object()?.map(Box::new);
        self.in_place(rules)?;
        if self.dialect() >= Dialect::Draft2019 {
            rules.unevaluated_items = self.schema("unevaluatedItems")?;
            rules.unevaluated_properties = self.schema("unevaluatedProperties")?;
        }
        Ok(())
    }

    /// Schemas that are only referred to.
    pub(super) fn definitions(&mut self) -> Result<(), String> {
        self.named("$defs")?;
        self.named("definitions")?;
        Ok(())
    }

    fn dialect(&self) -> Dialect {
        self.reader.dialect
    }

    fn types(&self) -> Result<Option<Types>, String> {
        let integer = match self.dialect() {
            Dialect::Draft4 => Type::WrittenInteger,
            Dialect::Draft6 | Dialect::Draft7 | Dialect::Draft2019 | Dialect::Draft2020 => {
                Type::Integer
            }
        };
        let named =
            |name: &Value| {
                let named = name.as_str().and_then(Type::named);
                named
                .map(|named| if matches!(named, Type::Integer) { integer } else { named })
                .ok_or_else(|| {
                    "type must be null, boolean, object, array, number, string, integer or a list \
                     of these"
                        .to_owned()
                })
            };
        match self.words.get("type") {
            None => Ok(None),
            Some(Value::Array(names)) => {
                let types: Result<Vec<Type>, String> = names.iter().map(named).collect();
                Ok(Some(Types(types?)))
            }
            Some(name) => Ok(Some(Types(vec![named(name)?]))),
        }
    }

    fn numbers(&self) -> Result<NumberRules, String> {
        let mut rules = NumberRules {
            multiple_of: self.number("multipleOf")?,
            least: self.number("minimum")?,
            most: self.number("maximum")?,
            ..NumberRules::default()
        };
        if rules
            .multiple_of
            .as_ref()
            .is_some_and(|of| of.as_f64() <= Some(0.0))
        {
            return Err("multipleOf must be above 0".to_owned());
        }
        if self.dialect() == Dialect::Draft4 {
            if self.flag("exclusiveMinimum")? {
                rules.above = rules.least.take();
            }
            if self.flag("exclusiveMaximum")? {
                rules.below = rules.most.take();
            }
        } else {
            rules.above = self.number("exclusiveMinimum")?;
            rules.below = self.number("exclusiveMaximum")?;
        }
        Ok(rules)
    }

    fn array(&mut self) -> Result<Option<ArrayRules>, String> {
        let mut rules = ArrayRules {
            least: self.count("minItems")?,
            most: self.count("maxItems")?,
            unique: self.flag("uniqueItems")?,
            ..ArrayRules::default()
        };
        match self.words.get("items") {
            Some(Value::Array(_)) if self.dialect().items_may_be_a_list() => {
                rules.first = self.listed("items")?.unwrap_or_default();
                rules.rest = self.schema("additionalItems")?;
            }
            Some(_) | None => rules.rest = self.schema("items")?,
        }
        if !self.dialect().items_may_be_a_list() {
            rules.first = self.listed("prefixItems")?.unwrap_or_default();
        }
        if self.dialect() > Dialect::Draft4
            && let Some(schema) = self.schema("contains")?
        {
            let (mut least, mut most) = (1, None);
            if self.dialect() >= Dialect::Draft2019 {
                least = self.count("minContains")?.unwrap_or(1);
                most = self.count("maxContains")?;
            }
            rules.contains = Some(Contains {
                schema,
                least,
                most,
                evaluates: self.dialect() == Dialect::Draft2020,
            });
        }
        let says_nothing = rules.least.is_none()
            && rules.most.is_none()
            && !rules.unique
            && rules.first.is_empty()
            && rules.rest.is_none()
            && rules.contains.is_none();
        Ok((!says_nothing).then_some(rules))
    }

    fn object(&mut self) -> Result<Option<ObjectRules>, String> {
        let mut rules = ObjectRules {
            least: self.count("minProperties")?,
            most: self.count("maxProperties")?,
            required: self.names("required")?,
            additional: self.schema("additionalProperties")?,
            ..ObjectRules::default()
        };
        if self.dialect() > Dialect::Draft4 {
            rules.names = self.schema("propertyNames")?;
        }
        for (name, id) in self.named("properties")? {
            rules.properties.insert(name.to_owned(), id);
        }
        for (pattern, id) in self.named("patternProperties")? {
            rules
                .pattern_properties
                .push((self.reader.pattern(pattern)?, id));
        }
        if self.dialect() >= Dialect::Draft2019
            && let Some(with) = self.map("dependentRequired")?
        {
            for (name, names) in with {
                let names = strings("dependentRequired", names)?;
                rules.required_with.push((name.clone(), names));
            }
        }
        if let Some(with) = self.map("dependencies")? {
            for (name, names) in with.iter().filter(|(_, names)| names.is_array()) {
                let names = strings("dependencies", names)?;
                rules.required_with.push((name.clone(), names));
            }
        }
        let says_nothing = rules.least.is_none()
            && rules.most.is_none()
            && rules.required.is_empty()
            && rules.additional.is_none()
            && rules.names.is_none()
            && rules.properties.is_empty()
            && rules.pattern_properties.is_empty()
            && rules.required_with.is_empty();
        Ok((!says_nothing).then_some(rules))
    }

    fn in_place(&mut self, rules: &mut Rules) -> Result<(), String> {
        let in_place = &mut rules.in_place;
        in_place.all = self.listed("allOf")?.unwrap_or_default();
        in_place.any = self.listed("anyOf")?;
        in_place.one = self.listed("oneOf")?;
        in_place.not = self.schema("not")?;
        if self.dialect() >= Dialect::Draft7 {
            let then = self.schema("then")?;
            let otherwise = self.schema("else")?;
            in_place.condition = self.schema("if")?.map(|test| Condition {
                test,
                then,
                otherwise,
            });
        }
        if self.dialect() >= Dialect::Draft2019 {
            let with = self.named("dependentSchemas")?.into_iter();
            in_place.with = with.map(|(name, id)| (name.to_owned(), id)).collect();
        }
        // It is honoured in every version, although newer ones do not define it.
        if let Some(with) = self.map("dependencies")? {
            for (name, schema) in with.iter().filter(|(_, schema)| !schema.is_array()) {
                let place = Place::Named(self.id, "dependencies", name);
                let id = self.reader.position(schema, self.part, place)?;
                in_place.with.push((name.clone(), id));
            }
        }
        Ok(())
    }

    /// The schema under a keyword.
    fn schema(&mut self, word: &'static str) -> Result<Option<Id>, String> {
        let Some(value) = self.words.get(word) else {
            return Ok(None);
        };
        let place = Place::Word(self.id, word);
        self.reader.position(value, self.part, place).map(Some)
    }

    /// The schemas in the list under a keyword.
    fn listed(&mut self, word: &'static str) -> Result<Option<Vec<Id>>, String> {
        let Some(values) = self.words.get(word) else {
            return Ok(None);
        };
        let values = list(word, values)?.iter().enumerate();
        let ids = values.map(|(number, value)| {
            let place = Place::Listed(self.id, word, number);
            self.reader.position(value, self.part, place)
        });
        ids.collect::<Result<Vec<Id>, String>>().map(Some)
    }

    /// The schemas by name under a keyword.
    fn named(&mut self, word: &'static str) -> Result<Vec<(&'a str, Id)>, String> {
        let Some(members) = self.map(word)? else {
            return Ok(Vec::new());
        };
        let ids = members.iter().map(|(name, value)| {
            let place = Place::Named(self.id, word, name);
            let id = self.reader.position(value, self.part, place)?;
            Ok((name.as_str(), id))
        });
        ids.collect()
    }

    fn map(&self, word: &str) -> Result<Option<&'a Map<String, Value>>, String> {
        match self.words.get(word) {
            None => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(format!("{word} must be an object")),
        }
    }

    fn number(&self, word: &str) -> Result<Option<Number>, String> {
        match self.words.get(word) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number.clone())),
            Some(_) => Err(format!("{word} must be a number")),
        }
    }

    /// A whole number from 0; 2.0 is one.
    fn count(&self, word: &str) -> Result<Option<u64>, String> {
        let Some(number) = self.number(word)? else {
            return Ok(None);
        };
        let whole = number.as_u64().or_else(|| {
            let float = number.as_f64()?;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is whole and not below 0; a larger value becomes the largest"
            )]
            (float >= 0.0 && float.fract() == 0.0).then_some(float as u64)
        });
        whole
            .map(Some)
            .ok_or_else(|| format!("{word} must be a whole number, at least 0"))
    }

    fn flag(&self, word: &str) -> Result<bool, String> {
        match self.words.get(word) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(format!("{word} must be true or false")),
        }
    }

    fn names(&self, word: &str) -> Result<Vec<String>, String> {
        match self.words.get(word) {
            None => Ok(Vec::new()),
            Some(names) => strings(word, names),
        }
    }
}

fn list<'a>(word: &str, value: &'a Value) -> Result<&'a Vec<Value>, String> {
    match value {
        Value::Array(items) => Ok(items),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            Err(format!("{word} must be a list"))
        }
    }
}

fn strings(word: &str, value: &Value) -> Result<Vec<String>, String> {
    let strings = list(word, value)?.iter().map(|name| match name {
        Value::String(name) => Ok(name.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(format!("{word} must be a list of strings"))
        }
    });
    strings.collect()
}
