//! Only code that this host made is ever given out for loading.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use cofferdam_domain::module::Digest;
use cofferdam_sandbox::EngineClass;
use cofferdam_sandbox::cache::CodeCache;
use cofferdam_sandbox::settings::SandboxConfig;

use super::{Bench, ample, wasm};

fn module(number: usize) -> Vec<u8> {
    let body = (0..=number)
        .flat_map(|_| wasm::increment(0))
        .collect::<Vec<_>>();
    wasm::command(wasm::body(1, &body))
}

impl Bench {
    /// The cache in a process that has just started.
    fn reopened(&self) -> CodeCache {
        CodeCache::open(&self.dir.path().join("compiled"), &ample()).expect("a cache")
    }

    fn verified(&self, digest: &Digest) -> Option<PathBuf> {
        self.compiler
            .code_cache()
            .verified(digest, EngineClass::Fast)
            .expect("the cache answers")
            .map(|code| code.as_ref().to_owned())
    }
}

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).expect("a file to flip a bit in");
    let length = bytes.len();
    bytes[at % length] ^= 1;
    std::fs::write(path, bytes).expect("the file can be written");
}

#[tokio::test]
async fn forged_code_is_removed_and_compiled_again() {
    let bench = Bench::new(&ample());
    let digest = bench.compile(module(0)).await.unwrap().digest;
    let path = bench.verified(&digest).unwrap();
    let honest = std::fs::read(&path).unwrap();
    let seal = path.with_extension("seal");
    let elsewhere = bench.dir.path().join("elsewhere");
    let forgeries: [(&str, &dyn Fn()); 10] = [
        ("its first byte flipped", &|| flip(&path, 0)),
        ("a byte in its midst flipped", &|| {
            flip(&path, honest.len() / 2)
        }),
        ("truncated", &|| {
            std::fs::write(&path, &honest[..honest.len() - 1]).unwrap()
        }),
        ("longer", &|| {
            std::fs::write(&path, [&honest[..], b"x"].concat()).unwrap()
        }),
        ("empty", &|| std::fs::write(&path, b"").unwrap()),
        ("without a seal", &|| std::fs::remove_file(&seal).unwrap()),
        ("with a broken MAC", &|| flip(&seal, 10)),
        ("with another label", &|| flip(&seal, 80)),
        ("writable by others", &|| {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
        }),
        ("a link", &|| {
            std::fs::rename(&path, &elsewhere).unwrap();
            symlink(&elsewhere, &path).unwrap();
        }),
    ];
    for (what, forge) in forgeries {
        assert!(bench.verified(&digest).is_some(), "before {what}");
        forge();
        assert_eq!(
            bench
                .reopened()
                .verified(&digest, EngineClass::Fast)
                .unwrap(),
            None,
            "{what}"
        );
        assert!(!path.exists() && !seal.exists(), "{what}");
        assert_eq!(
            bench.verified(&digest),
            None,
            "{what}, as the first process sees it"
        );
        bench.compile(module(0)).await.unwrap();
    }
}

#[tokio::test]
async fn a_change_under_a_running_host_is_noticed() {
    let bench = Bench::new(&ample());
    let digest = bench.compile(module(0)).await.unwrap().digest;
    let path = bench.verified(&digest).unwrap();
    flip(&path, 100);
    assert_eq!(bench.verified(&digest), None);
    assert!(!path.exists());
}

#[tokio::test]
async fn code_under_another_name_is_refused() {
    let bench = Bench::new(&ample());
    let one = bench.compile(module(0)).await.unwrap().digest;
    let two = bench.compile(module(1)).await.unwrap().digest;
    let (one_path, two_path) = (bench.verified(&one).unwrap(), bench.verified(&two).unwrap());
    std::fs::copy(&one_path, &two_path).unwrap();
    std::fs::copy(
        one_path.with_extension("seal"),
        two_path.with_extension("seal"),
    )
    .unwrap();
    assert_eq!(bench.verified(&two), None);
    assert!(bench.verified(&one).is_some());
}

#[tokio::test]
async fn compiled_code_outlives_the_process_and_half_written_ones_do_not() {
    let bench = Bench::new(&ample());
    let first = bench.compile(module(0)).await.unwrap();
    let Bench {
        compiler,
        memory,
        dir,
    } = bench;
    drop(compiler);
    let code_cache = dir.path().join("compiled");
    std::fs::write(code_cache.join("draft-killed"), b"half").unwrap();
    let bench = Bench {
        compiler: cofferdam_sandbox::compile::Compiler::new(
            &ample(),
            memory.clone(),
            PathBuf::from("/no/child/is/needed"),
            CodeCache::open(&code_cache, &ample()).unwrap(),
        ),
        memory,
        dir,
    };
    assert!(!code_cache.join("draft-killed").exists());
    let again = bench.compile(module(0)).await.unwrap();
    assert_eq!((again.digest, again.imports), (first.digest, first.imports));
}

#[tokio::test]
async fn the_least_recently_used_make_room() {
    let bench = Bench::new(&ample());
    let mut digests = Vec::new();
    for number in 0..3 {
        digests.push(bench.compile(module(number)).await.unwrap().digest);
    }
    assert!(bench.verified(&digests[0]).is_some(), "used last");
    let bytes = std::fs::metadata(bench.verified(&digests[0]).unwrap())
        .unwrap()
        .len();
    let config = SandboxConfig {
        code_cache_bytes: bytes * 5 / 2,
        ..ample()
    };
    let code_cache = CodeCache::open(&bench.dir.path().join("compiled"), &config).unwrap();
    let left: Vec<bool> = digests
        .iter()
        .map(|digest| {
            code_cache
                .verified(digest, EngineClass::Fast)
                .unwrap()
                .is_some()
        })
        .collect();
    assert_eq!(left, [true, false, true]);
}

#[test]
fn the_directory_and_its_key_are_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("compiled");
    std::fs::create_dir(&path).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
    CodeCache::open(&path, &ample()).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(&path.join("key"))), (0o700, 0o600));
    let key = std::fs::read(path.join("key")).unwrap();
    assert_eq!(key.len(), 32);
    CodeCache::open(&path, &ample()).unwrap();
    assert_eq!(std::fs::read(path.join("key")).unwrap(), key);
    std::fs::set_permissions(path.join("key"), PermissionsExt::from_mode(0o644)).unwrap();
    assert!(
        CodeCache::open(&path, &ample()).is_err(),
        "a key that others can read is not secret"
    );
}
