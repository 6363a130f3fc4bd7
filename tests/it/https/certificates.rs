//! Who believes the host's certificate, and how it is replaced.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output};

use super::raw::{HTTP1, Stream, shown};
use super::{Authority, Files, Secure};
use crate::support::host::{Host, program};
use crate::support::http::Client;

/// One request on an open connection.
fn ask(stream: &mut Stream) -> String {
    stream
        .write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(b"}") {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{answer:?}");
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn whoever_trusts_the_authority_is_served() {
    let secure = Secure::start("");
    secure.host.client.get("/readyz").expect(200);
    let base = secure.host.client.base.clone();
    // Neither the authorities of the web nor another one vouch for it.
    let of_the_web = Client::new(base.clone()).try_send("GET", "/livez", &[], b"");
    of_the_web.unwrap_err();
    let stranger = Authority::new();
    let of_a_stranger = Client::trusting(base.clone(), &stranger.root());
    of_a_stranger
        .try_send("GET", "/livez", &[], b"")
        .unwrap_err();

    let root = secure.files.path("root.pem");
    let health = |args: &[&OsStr], variable: Option<&Path>| -> Output {
        let mut command = Command::new(program());
        command.args(["health", "--server", &base]).args(args);
        command.envs(variable.map(|path| ("COFFERDAM_CA", path)));
        command.output().unwrap()
    };
    let flag = OsStr::new("--ca");
    let by_flag = health(&[flag, root.as_os_str()], None);
    assert!(by_flag.status.success(), "{by_flag:?}");
    let by_variable = health(&[], Some(&root));
    assert!(by_variable.status.success(), "{by_variable:?}");
    let without = health(&[], None);
    assert_eq!(without.status.code(), Some(3), "{without:?}");
    let told = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(told.contains("--ca"), "{told}");
    let empty = secure.files.path("empty.pem");
    std::fs::write(&empty, "nothing").unwrap();
    let nothing = health(&[flag, empty.as_os_str()], None);
    assert_eq!(nothing.status.code(), Some(2), "{nothing:?}");
}

#[test]
fn a_hangup_renews_the_certificate_and_a_bad_one_changes_nothing() {
    let secure = Secure::start("");
    let mut before = secure.shake(HTTP1);
    assert!(ask(&mut before).contains("alive"));
    let renewed = secure.authority.issue();
    secure.files.put(&renewed);
    secure.host.hang_up();
    secure.host.await_log("the certificate was read anew", 1);
    assert_eq!(shown(&secure.shake(HTTP1)), renewed.der);
    assert_ne!(shown(&before), renewed.der);
    // Nothing was dropped.
    assert!(ask(&mut before).contains("alive"));

    let another = secure.authority.issue();
    let bad: [&dyn Fn(); 4] = [
        &|| std::fs::write(secure.files.path("key.pem"), &another.key).unwrap(),
        &|| std::fs::write(secure.files.path("key.pem"), "-----BEGIN SECRET").unwrap(),
        &|| std::fs::write(secure.files.path("chain.pem"), "").unwrap(),
        &|| std::fs::remove_file(secure.files.path("chain.pem")).unwrap(),
    ];
    for (number, spoil) in bad.into_iter().enumerate() {
        secure.files.put(&renewed);
        spoil();
        secure.host.hang_up();
        secure.host.await_log("the present one stays", number + 1);
        assert_eq!(shown(&secure.shake(HTTP1)), renewed.der);
    }
    assert!(
        !secure.host.log().contains("SECRET"),
        "{}",
        secure.host.log()
    );
    assert!(ask(&mut before).contains("alive"));
}

#[test]
fn a_host_does_not_start_with_half_of_a_certificate() {
    let (authority, files) = (Authority::new(), Files::new());
    files.put(&authority.issue());
    let start = |config: &str| {
        let data = tempfile::tempdir().unwrap();
        std::fs::write(data.path().join("cofferdam.toml"), config).unwrap();
        let mut command = Command::new(program());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]);
        let output = command.arg(data.path()).output().unwrap();
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let chain = files.path("chain.pem");
    let told = start(&format!("[http]\ntls_certificate = {chain:?}\n"));
    assert!(told.contains("http.tls_key"), "{told}");
    std::fs::write(files.path("key.pem"), authority.issue().key).unwrap();
    let told = start(&format!("[http]\n{}", files.config()));
    assert!(told.contains("key.pem"), "{told}");
    // A host without a certificate ends upon a hangup, as programs do.
    let mut plain = Host::start();
    plain.hang_up();
    assert!(!plain.wait().success());
}
