//! What modules, their versions and their languages are called.

use super::*;

#[test]
fn names_follow_the_rule() {
    let long = "a".repeat(128);
    for good in ["a", "0", "resize", "team/resize-2.1_x", long.as_str()] {
        assert!(ModuleName::parse(good).is_ok(), "{good}");
    }
    let too_long = "a".repeat(129);
    for bad in [
        "",
        "A",
        "/a",
        ".a",
        "a..b",
        "a//b",
        "a/",
        "a b",
        "é",
        "a\0",
        "a%2f",
        too_long.as_str(),
    ] {
        assert_eq!(ModuleName::parse(bad), Err(BadModuleName), "{bad}");
    }
}

#[test]
fn references_pin_a_version() {
    let digest = Digest::from_bytes([0xab; 32]);
    let text = format!("resize@{digest}");
    let reference = ModuleRef::parse(&text).unwrap();
    assert_eq!(reference.digest, Some(digest));
    assert_eq!(reference.to_string(), text);
    assert_eq!(ModuleRef::parse("resize").unwrap().to_string(), "resize");
    assert_eq!(
        ModuleRef::parse("resize@sha256:12"),
        Err(BadModuleRef::Digest)
    );
    assert_eq!(ModuleRef::parse("@sha256:12"), Err(BadModuleRef::Digest));
}

#[test]
fn digests_have_one_form() {
    let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 8).unwrap());
    let digest = Digest::from_bytes(bytes);
    assert_eq!(digest.as_bytes(), &bytes);
    assert!(digest.hex().starts_with("0008101820"));
    let text = format!("{digest:?}");
    assert_eq!(text, format!("sha256:{}", digest.hex()));
    assert_eq!(Digest::parse(&text), Some(digest));
    let all = "0123456789abcdef".repeat(4);
    assert_eq!(Digest::parse(&format!("sha256:{all}")).unwrap().hex(), all);
    for bad in ["", "sha256:", &text[7..], &text[..70], &text.to_uppercase()] {
        assert_eq!(Digest::parse(bad), None, "{bad}");
    }
    let last = |digit: char| format!("sha256:{}{digit}", "0".repeat(63));
    for bad in ['g', 'A', '/', ':', '`', ' '] {
        assert_eq!(Digest::parse(&last(bad)), None, "{bad}");
    }
}

#[test]
fn kinds_have_the_words_that_users_see() {
    let python = Language::Python;
    let kinds = [
        (ModuleKind::Task, "task", None),
        (ModuleKind::Command, "command", None),
        (ModuleKind::CoreCommand, "command", None),
        (ModuleKind::Interpreter(python), "task", Some(python)),
        (ModuleKind::Script(python), "task", Some(python)),
    ];
    for (kind, word, language) in kinds {
        assert_eq!((kind.as_str(), kind.language()), (word, language));
    }
}

#[test]
fn languages_are_known_by_each_of_their_words() {
    for word in ["python", "Python3", "PY"] {
        assert_eq!(Language::parse(word), Some(Language::Python), "{word}");
    }
    for word in ["javascript", "js", "node", "NodeJS", "typescript", "ts"] {
        assert_eq!(Language::parse(word), Some(Language::JavaScript), "{word}");
    }
    for word in ["", "ruby", "python2"] {
        assert_eq!(Language::parse(word), None, "{word}");
    }
    for name in ["main.py", "a.b.py"] {
        assert_eq!(Language::of_file(name), Some(Language::Python), "{name}");
    }
    for end in ["js", "mjs", "cjs", "ts", "mts", "cts"] {
        let language = Language::of_file(&format!("main.{end}"));
        assert_eq!(language, Some(Language::JavaScript), "{end}");
    }
    for name in ["py", "main", "main.PY", "main.py.txt"] {
        assert_eq!(Language::of_file(name), None, "{name}");
    }
    for language in Language::ALL {
        assert_eq!(language.words()[0], language.as_str());
        let module = language.module();
        assert!(module.is_reserved());
        assert_eq!(
            module.to_string(),
            format!("interpreters/{}", language.as_str())
        );
        assert_eq!(ModuleName::parse(module.as_str()), Ok(module));
    }
    assert!(!ModuleName::parse("interpreter").unwrap().is_reserved());
}

#[test]
fn a_name_means_what_is_the_tenants_own_or_everybodys() {
    let tenant = Tenant::parse("team").unwrap();
    let owner = |text: &str| ModuleName::parse(text).unwrap().owner(&tenant);
    assert_eq!(owner("resize"), tenant);
    assert_eq!(owner("publicity/a"), tenant);
    assert_eq!(owner("public"), tenant);
    for shared in ["public/resize", "interpreters/python"] {
        assert_eq!(owner(shared), Tenant::DEFAULT, "{shared}");
    }
}
