//! A large upload beside many small requests: while it comes, while it is compiled and while it is
//! stored, tasks are acknowledged as if it were not there.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::support::guests;
use crate::support::host::Host;

/// The module that is uploaded, in bytes.
const LARGE: usize = 120 << 20;
/// Clients that submit meanwhile.
const SUBMITTERS: usize = 4;
/// Tasks that are acknowledged while half of the module has come.
const WHILE_IT_COMES: usize = 50;

/// A command that does nothing, with a custom section that makes it as large as that.
fn large_module() -> Vec<u8> {
    let mut module =
        wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\")))")
            .unwrap();
    let name = b"\x04junk";
    let mut length = LARGE + name.len();
    module.push(0);
    while length >= 0x80 {
        module.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    module.push(length as u8);
    module.extend_from_slice(name);
    module.resize(module.len() + LARGE, 0xaa);
    module
}

/// Whether the host writes bytes beside its database now.
fn is_storing(blobs: &Path) -> bool {
    let mut entries = std::fs::read_dir(blobs).into_iter().flatten().flatten();
    entries.any(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with(".unfinished-")
    })
}

#[test]
fn tasks_are_acknowledged_while_a_large_module_comes_and_is_stored() {
    let host = Host::start();
    host.client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let submit = || host.client.submit(&json!({"module": "echo", "input": 1}));
    let module = large_module();
    let (first, rest) = module.split_at(module.len() / 2);
    let mut upload = host.connect();
    let head = format!(
        "PUT /v1/modules/large HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/wasm\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        module.len()
    );
    upload.write_all(head.as_bytes()).unwrap();
    upload.write_all(first).unwrap();
    for _ in 0..WHILE_IT_COMES {
        submit();
    }

    let blobs = host.data().join("blobs");
    let is_answered = AtomicBool::new(false);
    let (meanwhile, while_stored) = std::thread::scope(|scope| {
        let submitters: Vec<_> = (0..SUBMITTERS)
            .map(|_| {
                scope.spawn(|| {
                    let (mut meanwhile, mut while_stored) = (0, 0);
                    while !is_answered.load(Ordering::SeqCst) {
                        let before = is_storing(&blobs);
                        submit();
                        meanwhile += usize::from(!is_answered.load(Ordering::SeqCst));
                        while_stored += usize::from(before && is_storing(&blobs));
                    }
                    (meanwhile, while_stored)
                })
            })
            .collect();
        upload.write_all(rest).unwrap();
        let answer = answer(&mut upload);
        is_answered.store(true, Ordering::SeqCst);
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        let counted = submitters.into_iter().map(|one| one.join().unwrap());
        counted.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    });
    println!("{meanwhile} acknowledged before the module was, {while_stored} while it was written");
    assert!(meanwhile >= WHILE_IT_COMES && while_stored > 0);
}

fn answer(upload: &mut TcpStream) -> String {
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    answer
}
