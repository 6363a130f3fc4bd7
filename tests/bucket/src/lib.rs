//! A server that speaks S3's protocol for tests, with a bucket for each: `moto`, a Python package that
//! `cargo xtask peers` installs.
//!
//! The first test that needs the server starts it, whatever process the test is in, and all others use
//! the same one; half a minute after the last it ends by itself. Without it a test fails.

mod proxy;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cofferdam_test_kept as kept;

pub use crate::proxy::Proxy;

/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A bucket of one test's own.
pub struct Bucket {
    name: String,
    server: String,
}

impl Bucket {
    /// A new, empty bucket.
    pub fn fresh() -> Bucket {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bucket = Bucket {
            name: format!("cofferdam-{}-{number}", std::process::id()),
            server: server().to_owned(),
        };
        bucket.ask("PUT", "", b"");
        // Left by a process that had the same number.
        for object in bucket.objects() {
            bucket.ask("DELETE", &object, b"");
        }
        bucket
    }

    /// Its name as hosts are told of it, with a prefix.
    pub fn url(&self) -> String {
        format!("s3://{}/some/where", self.name)
    }

    /// Where the server answers.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server)
    }

    /// A way to it that can be made to fail.
    pub fn proxy(&self) -> Proxy {
        Proxy::to(self.server.clone())
    }

    /// The names of its objects.
    pub fn objects(&self) -> Vec<String> {
        let list = self.ask("GET", "?list-type=2", b"");
        let mut rest = list.as_str();
        let mut names = Vec::new();
        while let Some((_, from)) = rest.split_once("<Key>") {
            let (name, behind) = from.split_once("</Key>").expect("the list is complete");
            names.push(name.to_owned());
            rest = behind;
        }
        names
    }

    /// Puts other bytes in an object's place.
    pub fn overwrite(&self, object: &str, bytes: &[u8]) {
        self.ask("PUT", object, bytes);
    }

    fn ask(&self, method: &str, rest: &str, body: &[u8]) -> String {
        let path = match rest.starts_with('?') || rest.is_empty() {
            true => format!("/{}{rest}", self.name),
            false => format!("/{}/{rest}", self.name),
        };
        let answer = ask(&self.server, method, &path, body).expect("the server of buckets answers");
        let line = answer.lines().next().unwrap_or_default();
        assert!(line.starts_with("HTTP/1.1 2"), "{method} {path}: {line}");
        answer
    }
}

/// What a key would have signed; the server does not look whether it did.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
    SignedHeaders=host, Signature=0";

/// One request on a connection of its own; gives what the server answers.
fn ask(server: &str, method: &str, path: &str, body: &[u8]) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(server)?;
    let length = body.len();
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nhost: {server}\r\nauthorization: {SIGNED}\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n"
    )?;
    connection.write_all(body)?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The address of the server, which runs as long as this process does.
fn server() -> &'static str {
    static SERVER: OnceLock<String> = OnceLock::new();
    SERVER.get_or_init(|| {
        let user = rustix::process::getuid().as_raw();
        start(&std::env::temp_dir().join(format!("cofferdam-bucket-{user}")))
    })
}

fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let python = root.join("target/peers-venv/bin/python");
    assert!(
        python.exists(),
        "there is no {}; `cargo xtask peers` installs it",
        python.display()
    );
    python
}

fn start(home: &Path) -> String {
    std::fs::create_dir_all(home).expect("a directory for the server");
    let _starting = kept::hold(home);
    let address = std::fs::read_to_string(home.join("address")).unwrap_or_default();
    match answers(&address) {
        true => address,
        false => make(home),
    }
}

fn answers(address: &str) -> bool {
    ask(address, "GET", "/moto-api/", b"").is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn make(home: &Path) -> String {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let mut server = Command::new(python());
    server.args(["-m", "moto.server", "-H", "127.0.0.1", "-p"]);
    server.arg(address.port().to_string());
    kept::launch(home, None, &server);
    let address = address.to_string();
    kept::await_answer(home, START_TIMEOUT, || answers(&address));
    std::fs::write(home.join("address"), &address).expect("its address is written down");
    address
}
