//! Modules: their names, their kinds, and the addresses of their bytes.

use std::fmt;

use crate::caller::Tenant;

/// The sha-256 of a module's bytes as uploaded; its address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// From the 32 bytes of the hash.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// The 32 bytes of the hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits, without the `sha256:` that [`fmt::Display`] puts before them.
    pub fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads `sha256:` and 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Digest> {
        let hex = text.strip_prefix("sha256:")?.as_bytes();
        if hex.len() != 64 {
            return None;
        }
        let mut bytes = [0_u8; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = hex_value(pair[0])? << 4 | hex_value(pair[1])?;
        }
        Some(Digest(bytes))
    }
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name that a module is reachable by: `[a-z0-9][a-z0-9._/-]{0,127}`, no `..`, no `//`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleName(String);

impl ModuleName {
    /// The longest name, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// The prefix of the host's own modules.
    pub const RESERVED_PREFIX: &str = "interpreters/";

    /// The host's own module that nodes of workflows name where the host itself does what they do. It does nothing.
    pub fn workflow() -> ModuleName {
        ModuleName(format!("{}workflow", ModuleName::RESERVED_PREFIX))
    }

    /// Whether it is a name of the host's own modules, which callers cannot put.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(ModuleName::RESERVED_PREFIX)
    }

    /// The prefix of modules that everybody may read and run.
    pub const PUBLIC_PREFIX: &str = "public/";

    /// Whether it is a name of the modules that everybody may read and run, which only administrators
    /// put and remove.
    pub fn is_public(&self) -> bool {
        self.0.starts_with(ModuleName::PUBLIC_PREFIX)
    }

    /// Whose module a tenant means by this name: its own, unless the name is everybody's. What is
    /// everybody's belongs to the host's own tenant.
    pub fn owner(&self, tenant: &Tenant) -> Tenant {
        match self.is_reserved() || self.is_public() {
            true => Tenant::DEFAULT,
            false => tenant.clone(),
        }
    }

    /// Checks `text` against the rule above.
    pub fn parse(text: &str) -> Result<ModuleName, BadModuleName> {
        let bytes = text.as_bytes();
        let starts_well = bytes
            .first()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let allowed = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._/-".contains(b);
        if !starts_well
            || bytes.len() > ModuleName::BYTES_MAX
            || !bytes.iter().all(allowed)
            || text.contains("..")
            || text.contains("//")
            || text.ends_with('/')
        {
            return Err(BadModuleName);
        }
        Ok(ModuleName(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a module name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a module name is 1 to 128 of a-z 0-9 . _ / -, begins with a letter or digit, does not end in /, and has no '..' or '//'"
)]
pub struct BadModuleName;

/// How a caller names a module: by name, and if need be by the exact version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModuleRef {
    /// The name it is reachable by.
    pub name: ModuleName,
    /// The version; the newest one if absent.
    pub digest: Option<Digest>,
}

impl ModuleRef {
    /// Reads `name` or `name@sha256:…`.
    pub fn parse(text: &str) -> Result<ModuleRef, BadModuleRef> {
        let (name, digest) = match text.split_once('@') {
            None => (text, None),
            Some((name, digest)) => (
                name,
                Some(Digest::parse(digest).ok_or(BadModuleRef::Digest)?),
            ),
        };
        Ok(ModuleRef {
            name: ModuleName::parse(name)?,
            digest,
        })
    }
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.digest {
            None => self.name.fmt(f),
            Some(digest) => write!(f, "{}@{digest}", self.name),
        }
    }
}

/// The text does not name a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadModuleRef {
    /// The part before `@`.
    #[error(transparent)]
    Name(#[from] BadModuleName),
    /// The part after `@`.
    #[error("'@' is followed by sha256: and 64 lower-case hexadecimal digits")]
    Digest,
}

/// What kind of guest a module is; decides how it is linked and called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModuleKind {
    /// A component that exports `cofferdam:task/handler`.
    Task,
    /// A component that exports `wasi:cli/run`.
    Command,
    /// A WASI 0.1 core module with `_start`.
    CoreCommand,
    /// A task module that runs source text of this language. Only the host's own modules are of
    /// this kind.
    Interpreter(Language),
    /// Source text, run by the interpreter of its language.
    Script(Language),
}

impl ModuleKind {
    /// The word users see: both command kinds are `command`.
    pub const fn as_str(self) -> &'static str {
        match self {
            ModuleKind::Task | ModuleKind::Interpreter(_) | ModuleKind::Script(_) => "task",
            ModuleKind::Command | ModuleKind::CoreCommand => "command",
        }
    }

    /// The language of the interpreter that runs it, if there is one.
    pub const fn language(self) -> Option<Language> {
        match self {
            ModuleKind::Interpreter(language) | ModuleKind::Script(language) => Some(language),
            ModuleKind::Task | ModuleKind::Command | ModuleKind::CoreCommand => None,
        }
    }
}

/// A language that source text can be run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// Python, by CPython.
    Python,
    /// JavaScript, by QuickJS.
    JavaScript,
}

impl Language {
    /// Every language.
    pub const ALL: [Language; 2] = [Language::Python, Language::JavaScript];

    /// The word of the API and of file names.
    pub const fn as_str(self) -> &'static str {
        match self {
            Language::Python => "python",
            Language::JavaScript => "javascript",
        }
    }

    /// The words that mean it. The first is its name. JavaScript's interpreter takes types off.
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Language::Python => &["python", "python3", "py"],
            Language::JavaScript => &["javascript", "js", "node", "nodejs", "typescript", "ts"],
        }
    }

    /// The language that a word names, in any case.
    pub fn parse(word: &str) -> Option<Language> {
        let means = |language: &Language| {
            let mut words = language.words().iter();
            words.any(|known| known.eq_ignore_ascii_case(word))
        };
        Language::ALL.into_iter().find(means)
    }

    /// The language of a file by the ending of its name.
    pub fn of_file(name: &str) -> Option<Language> {
        match name.rsplit_once('.')?.1 {
            "py" => Some(Language::Python),
            "js" | "mjs" | "cjs" | "ts" | "mts" | "cts" => Some(Language::JavaScript),
            _ => None,
        }
    }

    /// The name that the language's interpreter has among the modules.
    pub fn module(self) -> ModuleName {
        ModuleName(format!("{}{}", ModuleName::RESERVED_PREFIX, self.as_str()))
    }
}

/// A task module's description of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// One or two sentences.
    pub summary: String,
    /// JSON Schema of the input, as text.
    pub input_schema: Option<String>,
    /// JSON Schema of the output, as text.
    pub output_schema: Option<String>,
}

/// A module after it was checked and compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleInfo {
    /// The address of the bytes as uploaded.
    pub digest: Digest,
    /// How it is linked and called.
    pub kind: ModuleKind,
    /// The length of the bytes as uploaded.
    pub size_bytes: u64,
    /// What it imports, e.g. `wasi:filesystem/types@0.2.6` or `wasi_snapshot_preview1.fd_write`.
    pub imports: Vec<String>,
    /// The grants without which some of these imports only answer "denied".
    pub needs: Vec<String>,
    /// Its description of itself; a command has none.
    pub descriptor: Option<Descriptor>,
    /// How long checking and compiling took.
    pub compiled_ms: u64,
}

#[cfg(test)]
mod tests;
