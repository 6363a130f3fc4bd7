//! A plain WASI command that knows nothing of the host it runs on. Its first argument says which of
//! its surroundings it shows; tests ask the same of it under the `wasmtime` command line.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::path::Path;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = &args[1..];
    match args[0].as_str() {
        "args" => println!("{rest:?}"),
        "env" => env(),
        "stdin" => stdin(),
        "exit" => std::process::exit(rest[0].parse().expect("a number")),
        "panic" => panic!("as it was told to"),
        "files" => files(Path::new(&rest[0])),
        "flood" => flood(),
        "network" => network(&rest[0]),
        other => panic!("{other}?"),
    }
}

fn env() {
    let mut all: Vec<_> = std::env::vars().collect();
    all.sort();
    println!("{all:?}");
}

/// Copies standard input to standard output, and writes its length to standard error.
fn stdin() {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes).expect("readable");
    io::stdout().write_all(&bytes).expect("writable");
    eprintln!("{} bytes", bytes.len());
}

/// Shows a directory, and tries everything one can do to it.
fn files(folder: &Path) {
    show(folder);
    let at = |name: &str| folder.join(name);
    println!(
        "write {:?}",
        kind(fs::write(at("new"), "made by the guest"))
    );
    println!("append {:?}", kind(append(&at("new"))));
    println!("mkdir {:?}", kind(fs::create_dir_all(at("a/b/c"))));
    println!(
        "rename {:?}",
        kind(fs::rename(at("new"), at("a/b/renamed")))
    );
    println!(
        "link {:?}",
        kind(fs::hard_link(at("a/b/renamed"), at("second")))
    );
    println!("unlink {:?}", kind(fs::remove_file(at("second"))));
    println!("rmdir full {:?}", kind(fs::remove_dir(at("a"))).is_err());
    println!("escape {:?}", fs::read(at("../outside")).is_err());
    println!("absolute {:?}", fs::read("/etc/passwd").is_err());
    println!("absent {:?}", kind(fs::read(at("absent"))));
    println!("as a folder {:?}", fs::read_dir(at("a/b/renamed")).is_err());
    show(folder);
}

fn append(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new()
        .append(true)
        .open(path)?
        .write_all(b", twice")
}

fn kind<T>(result: io::Result<T>) -> Result<(), io::ErrorKind> {
    result.map(drop).map_err(|error| error.kind())
}

/// Every file below a directory, with its size and contents.
fn show(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return println!("{} cannot be read", folder.display());
    };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    paths.sort();
    for path in paths {
        let about = fs::metadata(&path).expect("it is there");
        if about.is_dir() {
            println!("{}/", path.display());
            show(&path);
        } else {
            let text = fs::read_to_string(&path).expect("text");
            println!("{} {} {text:?}", path.display(), about.len());
        }
    }
}

/// Two mebibytes on each output stream, in uneven pieces.
fn flood() {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    for number in 0..10_000 {
        // Formatted first: standard error is not buffered.
        let (one, other) = (format!("{number:0>210}\n"), format!("{number:->209}\n"));
        out.write_all(one.as_bytes()).expect("writable");
        err.write_all(other.as_bytes()).expect("writable");
    }
}

/// Tries to reach the world; `address` is one that listens.
fn network(address: &str) {
    println!("connect {}", TcpStream::connect(address).is_ok());
    println!("listen {}", TcpListener::bind("127.0.0.1:0").is_ok());
    println!("send {}", send(address).is_ok());
    println!("look up {}", "localhost:80".to_socket_addrs().is_ok());
}

fn send(address: &str) -> io::Result<usize> {
    UdpSocket::bind("127.0.0.1:0")?.send_to(b"hello", address)
}
