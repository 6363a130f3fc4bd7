//! Resolves references: names of schemas, anchors and paths, all within one document.
//!
//! Nothing is fetched. A reference that leads out of the document is refused when the module is
//! uploaded, because the host could not check it.

use std::collections::HashMap;

use serde_json::Value;

/// A part of the document with its own `$id`; paths begin at its root.
#[derive(Debug)]
pub(super) struct Resource<'a> {
    base: String,
    root: &'a Value,
}

/// The named parts of a document.
#[derive(Debug)]
pub(super) struct Resources<'a> {
    all: Vec<Resource<'a>>,
    by_base: HashMap<String, usize>,
    anchors: HashMap<(usize, &'a str), &'a Value>,
}

impl<'a> Resources<'a> {
    /// A document, which is part 0.
    pub(super) fn new(root: &'a Value) -> Resources<'a> {
        let whole = Resource {
            base: String::new(),
            root,
        };
        Resources {
            all: vec![whole],
            by_base: HashMap::new(),
            anchors: HashMap::new(),
        }
    }

    /// Records that `value`, in the part `within`, has the name `id`; returns the part that begins
    /// there.
    pub(super) fn name(&mut self, within: usize, id: &'a str, value: &'a Value) -> usize {
        let (uri, fragment) = id.split_once('#').unwrap_or((id, ""));
        let part = if uri.is_empty() {
            within
        } else {
            let base = join(&self.all[within].base, uri);
            let part = match std::ptr::eq(self.all[within].root, value) {
                true => within,
                false => self.all.len(),
            };
            let resource = Resource {
                base: base.clone(),
                root: value,
            };
            match self.all.get_mut(part) {
                Some(known) => *known = resource,
                None => self.all.push(resource),
            }
            self.by_base.insert(base, part);
            part
        };
        if !fragment.is_empty() {
            self.anchor(part, fragment, value);
        }
        part
    }

    /// Records an anchor.
    pub(super) fn anchor(&mut self, part: usize, name: &'a str, value: &'a Value) {
        self.anchors.insert((part, name), value);
    }

    /// Whether the whole document has its own `$id`.
    pub(super) fn is_root_named(&self) -> bool {
        !self.all[0].base.is_empty()
    }

    /// Whether some schema below the root has its own `$id`.
    pub(super) fn has_parts(&self) -> bool {
        self.all.len() > 1
    }

    /// The target of `reference` in the part `within`: the value and the part it is in.
    pub(super) fn resolve(
        &self,
        within: usize,
        reference: &str,
    ) -> Result<(&'a Value, usize), String> {
        let (uri, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        let part = if uri.is_empty() {
            Some(within)
        } else {
            let joined = join(&self.all[within].base, uri);
            self.by_base
                .get(&joined)
                .or_else(|| self.by_base.get(uri))
                .copied()
        };
        let part = part.ok_or("leads out of this schema, and the host fetches nothing")?;
        let fragment = percent_decoded(fragment).ok_or("is not a reference")?;
        let root = self.all[part].root;
        let found = match fragment.as_str() {
            "" => Some(root),
            path if path.starts_with('/') => root.pointer(path),
            anchor => self.anchors.get(&(part, anchor)).copied(),
        };
        Ok((found.ok_or("leads nowhere in this schema")?, part))
    }
}

/// A reference resolved against `base`. Steps up (`..`) are not supported: such a reference has no
/// target.
fn join(base: &str, reference: &str) -> String {
    let scheme = |text: &str| {
        let end = text.find(':')?;
        let is_scheme = text[..end]
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
        (is_scheme && end > 0).then_some(end + 1)
    };
    let (None, Some(scheme_end)) = (scheme(reference), scheme(base)) else {
        return reference.to_owned();
    };
    if reference.starts_with("//") {
        return format!("{}{reference}", &base[..scheme_end]);
    }
    let authority_end = match base[scheme_end..].strip_prefix("//") {
        Some(rest) => base.len() - rest.len() + rest.find('/').unwrap_or(rest.len()),
        None => scheme_end,
    };
    if reference.starts_with('/') {
        return format!("{}{reference}", &base[..authority_end]);
    }
    match base[authority_end..].rfind('/') {
        Some(slash) => format!("{}{reference}", &base[..=authority_end + slash]),
        None if base[scheme_end..].starts_with("//") => format!("{base}/{reference}"),
        None => reference.to_owned(),
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                u8::from_str_radix(digits, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_seen_from_their_base() {
        let base = "https://example.com/schemas/a.json";
        assert_eq!(join(base, "b.json"), "https://example.com/schemas/b.json");
        assert_eq!(join(base, "/b"), "https://example.com/b");
        assert_eq!(join(base, "//other/b"), "https://other/b");
        assert_eq!(join(base, "urn:x:y"), "urn:x:y");
        assert_eq!(join(base, ":x"), "https://example.com/schemas/:x");
        assert_eq!(join(base, "a/b:c"), "https://example.com/schemas/a/b:c");
        assert_eq!(join("https://example.com", "b"), "https://example.com/b");
        assert_eq!(join("urn:x:y", "b"), "b");
        assert_eq!(join("", "b"), "b");
    }

    #[test]
    fn paths_are_decoded() {
        assert_eq!(percent_decoded("/a%25b~1c").as_deref(), Some("/a%b~1c"));
        assert_eq!(percent_decoded("/a%2"), None);
    }
}
