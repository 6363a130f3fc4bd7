//! The request to an interpreter, as in `interpreters/input.schema.json`.
//!
//! The same JSON is a task's input and, without the files, the guest's input. The source is not
//! decoded here: it goes to the guest unchanged.

mod content;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::content::FileContent;
use crate::interpreters::packages::Packages;
use cofferdam_domain::attempt::Payload;
use cofferdam_domain::grants::Grants;
use cofferdam_domain::limits::MIB;
use cofferdam_domain::module::Language;
use cofferdam_sandbox::Mount;
use cofferdam_sandbox::files::{InputContent, InputFile, InputPlace};

/// The memory limit of code that names none, unless the operator's ceiling is lower.
pub const MEMORY_BYTES: u64 = 512 * MIB;
/// Files that come with one execution.
const FILES_MAX: usize = 256;
/// Arguments, and packages.
const WORDS_MAX: usize = 1024;

/// A request for code to be run.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request<'a> {
    /// The source, a JSON string.
    #[serde(borrow)]
    pub code: &'a RawValue,
    /// Standard input, a JSON string.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<&'a RawValue>,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Files for the working directory, by name.
    #[serde(
        borrow,
        default,
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "files_once"
    )]
    pub files: Files<'a>,
    /// Packages to import from; all packages on offer if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packages: Option<Vec<String>>,
}

/// Files by their name.
pub type Files<'a> = BTreeMap<Cow<'a, str>, FileContent<'a>>;

/// A request that the interpreter cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct BadRequest {
    /// The field of the mistake.
    pub field: String,
    /// A description of it.
    pub why: String,
}

/// The set-up of a session's interpreter.
#[derive(Debug)]
pub struct SessionSetup {
    files: Vec<InputFile>,
    mounts: Vec<Mount>,
    /// Members of each call's JSON, with a comma in front of each.
    members: Vec<u8>,
}

/// A request as the guest and its sandbox take it.
#[derive(Debug)]
pub struct Prepared {
    /// The guest's input.
    pub(crate) payload: Payload,
    /// Its standard input, if that is not part of the payload.
    pub(crate) stdin: Option<Bytes>,
    /// The files for `/work`.
    pub(crate) files: Vec<InputFile>,
    /// The packages, if any.
    pub(crate) mounts: Vec<Mount>,
}

impl<'a> Request<'a> {
    /// Reads the input of a task.
    pub fn parse(body: &'a [u8]) -> Result<Request<'a>, BadRequest> {
        let request = serde_json::from_slice(body).map_err(|error| bad("input", error))?;
        // Serde also reads a list as the members in their order, which nobody is promised.
        match body.trim_ascii_start().starts_with(b"{") {
            true => Ok(request),
            false => Err(bad("input", "it must be a JSON object")),
        }
    }

    /// Checks the request and puts it into the guest's form.
    pub fn prepare(&self, language: Language, packages: &Packages) -> Result<Prepared, BadRequest> {
        let mut guest = Guest::new(self.code)?;
        let stdin = guest.stdin(language, self.stdin)?;
        if !self.args.is_empty() {
            words("args", &self.args)?;
            guest.json("args", &self.args);
        }
        let mounts = guest.packages(language, self.packages.as_deref(), packages)?;
        Ok(Prepared {
            payload: guest.finish(),
            stdin,
            files: self.input_files()?,
            mounts,
        })
    }

    /// Checks a call of a session and puts it into the guest's form. The guest itself writes the
    /// files, because the host must not write into a directory that a guest has changed.
    pub fn prepare_turn(&self, language: Language, members: &[u8]) -> Result<Prepared, BadRequest> {
        let mut guest = Guest::new(self.code)?;
        guest.json("mode", "session");
        let stdin = guest.stdin(language, self.stdin)?;
        if !self.args.is_empty() {
            words("args", &self.args)?;
            guest.json("args", &self.args);
        }
        self.input_files()?;
        if !self.files.is_empty() {
            guest.json("files", &self.files);
        }
        guest.0.extend_from_slice(members);
        Ok(Prepared {
            payload: guest.finish(),
            stdin,
            files: Vec::new(),
            mounts: Vec::new(),
        })
    }

    fn input_files(&self) -> Result<Vec<InputFile>, BadRequest> {
        input_files(&self.files)
    }
}

impl SessionSetup {
    /// An interpreter with `files` in its working directory and the `named` packages, or all.
    pub fn prepare(
        language: Language,
        files: &Files<'_>,
        named: Option<&[String]>,
        packages: &Packages,
    ) -> Result<SessionSetup, BadRequest> {
        let mut guest = Guest(Vec::new());
        let mounts = guest.packages(language, named, packages)?;
        let mut members = guest.0;
        if !members.is_empty() {
            members.insert(0, b',');
        }
        Ok(SessionSetup {
            files: input_files(files)?,
            mounts,
            members,
        })
    }

    /// Puts files of the host into the working directory, each under its path there, unless the
    /// request itself has a file with that name.
    pub fn restore(
        &mut self,
        files: impl IntoIterator<Item = (String, std::path::PathBuf)>,
    ) -> Result<(), BadRequest> {
        for (name, path) in files {
            let file = InputFile::new(&name, InputPlace::Work, InputContent::File(path))
                .map_err(|error| bad("snapshot", error))?;
            if self.files.iter().all(|other| other.name() != name) {
                self.files.push(file);
            }
        }
        Ok(())
    }

    /// The members of each call's JSON in a session with these grants.
    pub fn members(&self, grants: &Grants) -> Vec<u8> {
        let network: &[u8] = if grants.http.is_empty() { b"" } else { NETWORK };
        [&self.members[..], network].concat()
    }

    /// The files of the sandbox.
    pub(crate) fn opening(self) -> Prepared {
        Prepared {
            payload: Guest(vec![b'{']).finish(),
            stdin: None,
            files: self.files,
            mounts: self.mounts,
        }
    }
}

fn input_files(files: &Files<'_>) -> Result<Vec<InputFile>, BadRequest> {
    if files.len() > FILES_MAX {
        return Err(bad("files", format_args!("at most {FILES_MAX}")));
    }
    let file = |(name, content): (&Cow<'_, str>, &FileContent<'_>)| {
        let mut folders = name.match_indices('/').map(|(end, _)| &name[..end]);
        if let Some(other) = folders.find(|folder| files.contains_key(*folder)) {
            let why = format!("{name:?} is below {other:?}, which is a file");
            return Err(bad("files", why));
        }
        let bytes = match content {
            FileContent::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            FileContent::Base64 { base64 } => STANDARD
                .decode(base64.as_bytes())
                .map_err(|error| bad(&format!("files.{name}"), error))?
                .into(),
        };
        InputFile::new(name, InputPlace::Work, InputContent::Bytes(bytes))
            .map_err(|error| bad("files", error))
    };
    files.iter().map(file).collect()
}

/// Tells an interpreter that its run was granted requests: without that it says itself what is missing.
const NETWORK: &[u8] = br#","network":true"#;

impl Prepared {
    /// The run was granted requests.
    pub(crate) fn grant_requests(payload: &mut Payload) {
        let Some(members) = payload.body.strip_suffix(b"}") else {
            return;
        };
        payload.body = [members, NETWORK, b"}"].concat().into();
    }

    /// A script that works on `input`, which is JSON.
    pub(crate) fn script(
        language: Language,
        source: &str,
        input: &Payload,
        packages: &Packages,
    ) -> Result<Prepared, BadRequest> {
        let code = serde_json::value::to_raw_value(source).expect("a string is JSON");
        let mut guest = Guest::new(&code)?;
        guest.json("mode", "script");
        if !input.body.is_empty() {
            let value: &RawValue = serde_json::from_slice(&input.body)
                .map_err(|error| bad("input", format_args!("a script takes JSON: {error}")))?;
            guest.json("input", value);
        }
        let mounts = guest.packages(language, None, packages)?;
        Ok(Prepared {
            payload: guest.finish(),
            stdin: None,
            files: Vec::new(),
            mounts,
        })
    }

    /// A script that is only checked.
    pub(crate) fn check(source: &str) -> Prepared {
        let code = serde_json::value::to_raw_value(source).expect("a string is JSON");
        let mut guest = Guest::new(&code).expect("the raw value of a string is a string");
        guest.json("mode", "check");
        Prepared {
            payload: guest.finish(),
            stdin: None,
            files: Vec::new(),
            mounts: Vec::new(),
        }
    }
}

/// The guest's input while it is written.
struct Guest(Vec<u8>);

/// Room for the other fields, which are usually few.
const SLACK_BYTES: usize = 256;

impl Guest {
    fn new(code: &RawValue) -> Result<Guest, BadRequest> {
        let mut guest = Guest(Vec::with_capacity(code.get().len() + SLACK_BYTES));
        guest.0.push(b'{');
        guest.string("code", code)?;
        Ok(guest)
    }

    /// Standard input: CPython reads it from its descriptor, JavaScript's takes it with the request.
    fn stdin(
        &mut self,
        language: Language,
        stdin: Option<&RawValue>,
    ) -> Result<Option<Bytes>, BadRequest> {
        let Some(stdin) = stdin else { return Ok(None) };
        match language {
            Language::JavaScript => self.string("stdin", stdin).map(|()| None),
            Language::Python => {
                let text: Text = serde_json::from_str(stdin.get())
                    .map_err(|_other| bad("stdin", "must be a string"))?;
                Ok(Some(text.0))
            }
        }
    }

    fn string(&mut self, field: &str, value: &RawValue) -> Result<(), BadRequest> {
        if !value.get().starts_with('"') {
            return Err(bad(field, "must be a string"));
        }
        self.json(field, value);
        Ok(())
    }

    fn json<T: Serialize + ?Sized>(&mut self, field: &str, value: &T) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(field.as_bytes());
        self.0.extend_from_slice(b"\":");
        serde_json::to_writer(&mut self.0, value).expect("memory takes any JSON");
    }

    fn packages(
        &mut self,
        language: Language,
        named: Option<&[String]>,
        packages: &Packages,
    ) -> Result<Vec<Mount>, BadRequest> {
        if language != Language::Python {
            return match named {
                Some([_, ..]) => Err(bad("packages", "only Python has packages here")),
                Some([]) | None => Ok(Vec::new()),
            };
        }
        words("packages", named.unwrap_or_default())?;
        let files = packages.files(named).map_err(|absent| {
            let offered = packages.names().collect::<Vec<_>>().join(", ");
            let offered = if offered.is_empty() { "none" } else { &offered };
            bad(
                "packages",
                format_args!("{absent:?} is not offered; on offer: {offered}"),
            )
        })?;
        self.json("offered", &packages.names().collect::<Vec<_>>());
        if files.is_empty() {
            return Ok(Vec::new());
        }
        self.json("packages", &files);
        Ok(vec![packages.mount()])
    }

    fn finish(mut self) -> Payload {
        self.0.push(b'}');
        Payload {
            content_type: "application/json".into(),
            body: self.0.into(),
        }
    }
}

/// A JSON string as bytes. Half a surrogate pair, which UTF-8 cannot encode, becomes three bytes.
struct Text(Bytes);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(Text(Bytes::copy_from_slice(bytes)))
    }
}

/// Files with distinct names. serde's maps would keep the last of two equal names.
pub fn files_once<'de, D: Deserializer<'de>>(input: D) -> Result<Files<'de>, D::Error> {
    struct Once<'a>(PhantomData<&'a ()>);
    impl<'de> Visitor<'de> for Once<'de> {
        type Value = Files<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object of files")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Files<'de>, A::Error> {
            let mut files = Files::new();
            while let Some((name, content)) = map.next_entry()? {
                if files.insert(name, content).is_some() {
                    return Err(de::Error::custom("a file's name occurs twice"));
                }
            }
            Ok(files)
        }
    }
    input.deserialize_map(Once(PhantomData))
}

fn words(field: &str, words: &[String]) -> Result<(), BadRequest> {
    match words.len() > WORDS_MAX || words.iter().any(|word| word.contains('\0')) {
        true => Err(bad(field, format_args!("at most {WORDS_MAX}, without NUL"))),
        false => Ok(()),
    }
}

fn bad(field: &str, why: impl fmt::Display) -> BadRequest {
    BadRequest {
        field: field.to_owned(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prepare(body: &str) -> Result<Prepared, BadRequest> {
        Request::parse(body.as_bytes())?.prepare(Language::Python, &Packages::default())
    }

    #[test]
    fn the_source_reaches_the_guest_as_it_came() {
        let prepared = prepare(r#"{"code":"a\u0000\ud800","args":["x"]}"#).unwrap();
        assert_eq!(
            prepared.payload.body,
            r#"{"code":"a\u0000\ud800","args":["x"],"offered":[]}"#
        );
    }

    #[test]
    fn files_are_text_or_bytes_with_plain_names() {
        let prepared = prepare(r#"{"code":"","files":{"a/b":"é","c":{"base64":"AP8="}}}"#).unwrap();
        let contents = prepared.files.iter().map(|file| match &file.content {
            InputContent::Bytes(bytes) => (file.name(), bytes.to_vec()),
            InputContent::File(_) => panic!("in memory"),
        });
        let contents: Vec<_> = contents.collect();
        assert_eq!(
            contents,
            [("a/b", "é".as_bytes().to_vec()), ("c", vec![0, 255])]
        );
        assert!(prepare(r#"{"code":"","files":{"../x":""}}"#).is_err());
        assert!(prepare(r#"{"code":"","files":{"x":{"base64":"?"}}}"#).is_err());
    }

    #[test]
    fn an_invalid_request_is_refused() {
        for bad in [
            r#"{"code":1}"#,
            r#"{}"#,
            r#"{"code":"","stdin":[]}"#,
            r#"{"code":"","x":1}"#,
            r#"{"code":"","files":{"a":"","a":""}}"#,
            r#"{"code":"","files":{"a":{"base64":"","text":"x"}}}"#,
            r#"{"code":"","files":{"a":["aGk="]}}"#,
        ] {
            assert!(prepare(bad).is_err(), "{bad}");
        }
        let absent = prepare(r#"{"code":"","packages":["numpy"]}"#).unwrap_err();
        assert_eq!(absent.field, "packages");
        assert!(absent.why.contains("numpy"), "{absent}");
    }
}
