//! A guest that uses files in every way the tests of the file quota need.
//!
//! The first argument names what to do, the second is the quota in bytes or entries. It panics
//! where the host does not behave, and prints figures for the tests to compare.

use std::ffi::{CString, c_char, c_int};
use std::fs::{self, File, OpenOptions};
use std::time::{Duration, SystemTime};
use std::io::{Error, ErrorKind, Read, Seek, SeekFrom, Write};

const CHUNK: usize = 4096;

fn main() {
    let mut args = std::env::args().skip(1);
    let what = args.next().expect("what to do");
    let quota: u64 = args
        .next()
        .map_or(0, |text| text.parse().expect("a number"));
    match what.as_str() {
        "hello" => println!("hello"),
        "look" => look(),
        "fill" => fill(quota),
        "sparse" => sparse(),
        "entries" => entries(quota),
        "free" => free(quota),
        "nameless" => nameless(quota),
        "append" => append(),
        "replace" => replace(quota),
        "escape" => escape(),
        "mounts" => mounts(quota),
        "input" => input(),
        "leave" => leave(),
        "small-print" => small_print(),
        "touch" => drop(File::create("/work/touched").unwrap()),
        other => panic!("{other}?"),
    }
}

/// Writes until there is no space; returns how much was written.
fn fill_up(file: &mut File) -> u64 {
    let mut total = 0;
    loop {
        match file.write(&[7; CHUNK]) {
            Ok(written) => total += written as u64,
            Err(error) => {
                no_room(error);
                return total;
            }
        }
    }
}

#[track_caller]
fn full(error: Error) {
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
}

/// Checks the error of a write. The WASI 0.2 libc does not ask a stream's error for its reason and
/// calls each of them an I/O error.
#[track_caller]
fn no_room(error: Error) {
    if cfg!(target_env = "p1") || error.raw_os_error() != Some(29) {
        full(error);
    }
}

#[track_caller]
fn room_for(quota: u64, path: &str) {
    assert_eq!(
        fill_up(&mut File::create(path).unwrap()),
        quota / CHUNK as u64 * CHUNK as u64
    );
}

fn look() {
    for dir in ["/in", "/out", "/work"] {
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0);
        assert!(fs::metadata(dir).unwrap().is_dir());
    }
}

fn fill(quota: u64) {
    room_for(quota, "/out/big");
    println!("{}", fs::metadata("/out/big").unwrap().len());
    // There is no room for anything else, in the other directory either.
    no_room(fs::write("/work/more", [7; CHUNK]).unwrap_err());
}

fn sparse() {
    let mut file = File::create("/work/sparse").unwrap();
    for at in [1 << 40, (1 << 62) + 1] {
        file.seek(SeekFrom::Start(at)).unwrap();
        no_room(file.write(b"x").unwrap_err());
        full(file.set_len(at).unwrap_err());
    }
    full(file.set_len(1 << 60).unwrap_err());
    assert_eq!(file.metadata().unwrap().len(), 0);
    file.set_len(1000).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1000);
}

fn entries(quota: u64) {
    let mut made = 0;
    let error = loop {
        let result = match made % 2 {
            0 => File::create(format!("/work/{made}")).map(drop),
            _ => fs::create_dir(format!("/out/{made}")),
        };
        match result {
            Ok(()) => made += 1,
            Err(error) => break error,
        }
    };
    full(error);
    assert_eq!(made, quota);
    full(fs::hard_link("/work/0", "/work/link").unwrap_err());
    full(symlink("0", "/work/symlink").unwrap_err());
    full(fs::create_dir("/work/dir").unwrap_err());
    // A file that exists may be opened in every way.
    OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .open("/work/0")
        .unwrap();
    // Removing an entry of any kind gives room for one.
    fs::remove_file("/work/0").unwrap();
    symlink("nowhere", "/work/0").unwrap();
    full(File::create("/work/x").unwrap_err());
    fs::remove_file("/work/0").unwrap();
    fs::create_dir("/work/0").unwrap();
    full(File::create("/work/x").unwrap_err());
    fs::remove_dir("/work/0").unwrap();
    fs::hard_link("/work/2", "/work/0").unwrap();
    full(File::create("/work/x").unwrap_err());
    // Moving needs no room, and moving over another gives room back.
    fs::rename("/work/0", "/out/moved").unwrap();
    full(File::create("/work/x").unwrap_err());
    fs::rename("/work/4", "/work/6").unwrap();
    File::create("/work/x").unwrap();
    full(File::create("/work/y").unwrap_err());
    println!("{made}");
}

fn free(quota: u64) {
    for _ in 0..3 {
        room_for(quota, "/work/a");
        fs::remove_file("/work/a").unwrap();
    }
    // Truncating gives back: through the file and through opening it anew.
    room_for(quota, "/work/a");
    OpenOptions::new()
        .write(true)
        .open("/work/a")
        .unwrap()
        .set_len(10)
        .unwrap();
    room_for(quota, "/work/a");
    room_for(quota, "/work/a");
    // One of two names gives nothing back, the other does.
    fs::hard_link("/work/a", "/work/b").unwrap();
    fs::remove_file("/work/a").unwrap();
    no_room(fs::write("/work/c", [7; CHUNK]).unwrap_err());
    fs::remove_file("/work/c").unwrap();
    fs::remove_file("/work/b").unwrap();
    room_for(quota, "/work/c");
    // Overwriting needs no room.
    let mut file = OpenOptions::new().write(true).open("/work/c").unwrap();
    file.write_all(&[8; 2 * CHUNK]).unwrap();
}

fn nameless(quota: u64) {
    // A file without a name keeps its bytes as long as it is open.
    let mut open = Vec::new();
    let mut total = 0;
    loop {
        let mut file = File::create("/work/nameless").unwrap();
        fs::remove_file("/work/nameless").unwrap();
        match file.write_all(&[7; 4 * CHUNK]) {
            Ok(()) => total += 4 * CHUNK as u64,
            Err(error) => break no_room(error),
        }
        open.push(file);
    }
    assert_eq!(total, quota / (4 * CHUNK) as u64 * (4 * CHUNK) as u64);
    open.truncate(open.len() / 2);
    let held = open.len() as u64 * 4 * CHUNK as u64;
    room_for(quota - held, "/work/b");
    drop(open);
    room_for(quota, "/work/b");
    // The same holds if the file had a name when it was filled, and if another file took that name.
    let file = File::open("/work/b").unwrap();
    fs::remove_file("/work/b").unwrap();
    room_for(0, "/work/c");
    drop(file);
    room_for(quota, "/work/c");
    let file = File::open("/work/c").unwrap();
    File::create("/work/d").unwrap();
    fs::rename("/work/d", "/work/c").unwrap();
    room_for(0, "/work/e");
    drop(file);
    room_for(quota, "/work/e");
}

fn append() {
    let mut log = OpenOptions::new()
        .append(true)
        .create(true)
        .open("/out/log")
        .unwrap();
    let mut other = OpenOptions::new().append(true).open("/out/log").unwrap();
    for line in 0..10 {
        writeln!(log, "a{line}").unwrap();
        writeln!(other, "b{line}").unwrap();
    }
    let text = fs::read_to_string("/out/log").unwrap();
    assert_eq!(text.lines().count(), 20, "{text}");
    assert!(text.starts_with("a0\nb0\na1\n"), "{text}");
    // The WASI 0.2 libc keeps the position itself.
    let behind_a9 = if cfg!(target_env = "p1") { 3 } else { 0 };
    assert_eq!(
        log.stream_position().unwrap(),
        text.len() as u64 - behind_a9
    );
}

fn replace(quota: u64) {
    // Written beside, then moved over: half the quota is enough for ever.
    let half = vec![7; quota as usize / 2];
    for _ in 0..8 {
        fs::write("/work/new", &half).unwrap();
        fs::rename("/work/new", "/work/current").unwrap();
    }
    fs::rename("/work/current", "/work/current").unwrap();
    fs::hard_link("/work/current", "/work/same").unwrap();
    fs::rename("/work/same", "/work/current").unwrap();
    fs::remove_file("/work/same").unwrap();
    fs::write("/work/new", &half).unwrap();
    no_room(fs::write("/work/more", b"x").unwrap_err());
}

fn escape() {
    let outside = [
        "/etc/passwd",
        "/work/../../../../../../etc/passwd",
        "/work/../in",
        "/work//../out",
        "/work/./../out/",
        "/work/up",
        "/work/up/",
        "/work/up/etc/passwd",
        "/work/up/../etc/passwd",
        "/work/passwd",
        "/work/passwd/",
        "/work/loop",
        "/work/loop/",
        "/proc/self/root/etc/passwd",
    ];
    // Creating these may be refused; following them must be refused.
    for (target, link) in [
        ("../../../../../../..", "/work/up"),
        ("../../../../../../../etc/passwd", "/work/passwd"),
        ("/etc/passwd", "/work/absolute"),
        ("/proc/self/root", "/work/root"),
        ("loop", "/work/loop"),
        ("../in/new", "/work/dangling"),
    ] {
        drop(symlink(target, link));
    }
    for path in outside
        .iter()
        .chain(&["/work/absolute", "/work/root/etc/passwd"])
    {
        assert!(File::open(path).is_err(), "{path} opened");
        assert!(fs::read_dir(path).is_err(), "{path} listed");
        assert!(fs::metadata(path).is_err(), "{path} seen");
    }
    for path in outside {
        assert!(File::create(path).is_err(), "{path} created");
        assert!(fs::create_dir(path).is_err(), "{path} made");
    }
    assert!(File::create("/work/dangling").is_err());
    assert!(fs::rename("/work/up", "/work/../escaped").is_err());
    assert!(fs::hard_link("/work/../in", "/work/x").is_err());
}

fn mounts(quota: u64) {
    // A read-only directory stays so, whatever the other path of a call is.
    assert_eq!(fs::read_to_string("/ro/note").unwrap(), "read only");
    assert!(File::create("/ro/new").is_err());
    assert!(OpenOptions::new().write(true).open("/ro/note").is_err());
    assert!(
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open("/ro/note")
            .is_err()
    );
    assert!(fs::remove_file("/ro/note").is_err());
    assert!(fs::create_dir("/ro/dir").is_err());
    for other in ["/rw", "/work"] {
        assert!(fs::rename("/ro/note", format!("{other}/note")).is_err());
        assert!(fs::hard_link("/ro/note", format!("{other}/note")).is_err());
        assert!(fs::rename(format!("{other}/mine"), "/ro/mine").is_err());
    }
    // A writable directory is another device, and the quota counts it.
    fs::write("/work/mine", "mine").unwrap();
    let device = |result: Result<(), Error>| {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::CrossesDevices);
    };
    device(fs::rename("/work/mine", "/rw/mine"));
    device(fs::hard_link("/rw/theirs", "/work/theirs"));
    device(fs::rename("/rw/theirs", "/out/theirs"));
    fs::remove_file("/work/mine").unwrap();
    // Removing a file that the guest did not write gives no room.
    fs::remove_file("/rw/theirs").unwrap();
    room_for(quota, "/rw/big");
    fs::remove_file("/rw/big").unwrap();
    no_room(fs::write("/work/more", [7; CHUNK]).unwrap_err());
}

fn input() {
    let mut text = String::new();
    File::open("/in/payload")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(fs::read_to_string("/in/data/extra.txt").unwrap(), "extra");
    assert_eq!(fs::read_to_string("/work/pkg/main.py").unwrap(), "print()");
    assert!(File::create("/in/new").is_err());
    assert!(OpenOptions::new().write(true).open("/in/payload").is_err());
    assert!(OpenOptions::new().append(true).open("/in/payload").is_err());
    assert!(
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open("/in/payload")
            .is_err()
    );
    assert!(fs::remove_file("/in/payload").is_err());
    assert!(fs::rename("/in/payload", "/in/other").is_err());
    assert!(fs::hard_link("/in/payload", "/work/payload").is_err());
    fs::write("/work/pkg/main.py", "print(1)").unwrap();
    println!("{text}");
}

fn small_print() {
    // Many directories are read at once.
    fs::create_dir("/work/dir").unwrap();
    for name in ["a", "b", "c"] {
        fs::write(format!("/work/dir/{name}"), name).unwrap();
    }
    let mut readers: Vec<_> = (0..100).map(|_| fs::read_dir("/work/dir").unwrap()).collect();
    for _ in 0..3 {
        for reader in &mut readers {
            reader.next().unwrap().unwrap();
        }
    }
    assert!(readers.iter_mut().all(|reader| reader.next().is_none()));

    // The empty path names nothing.
    let error = fs::metadata("").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);

    // A file is never younger than now, and a time set on it is kept to the nanosecond.
    let file = File::create("/work/stamped").unwrap();
    for _ in 0..500 {
        fs::write("/work/stamped", "x").unwrap();
        let modified = fs::metadata("/work/stamped").unwrap().modified().unwrap();
        assert!(modified <= SystemTime::now());
        assert!(file.metadata().unwrap().modified().unwrap() <= SystemTime::now());
    }
    let given = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    file.set_modified(given).unwrap();
    assert_eq!(file.metadata().unwrap().modified().unwrap(), given);

    // Appended text can be read back.
    let mut file = OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .open("/work/appended")
        .unwrap();
    file.write_all(b"first ").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"second").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    // This does not read to the end: a libc that asks for the position moves to the end of a file
    // opened for appending.
    let mut text = [0; 12];
    file.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"first second");
}

fn leave() {
    fs::create_dir_all("/out/a/b").unwrap();
    fs::write("/out/a/b/deep.txt", "deep").unwrap();
    fs::write("/out/top.txt", "top").unwrap();
    fs::write("/work/work.txt", "work").unwrap();
    symlink("top.txt", "/out/symlink").unwrap();
    fs::write("/out/two", "names").unwrap();
    fs::hard_link("/out/two", "/out/names").unwrap();
}

unsafe extern "C" {
    #[link_name = "symlink"]
    fn libc_symlink(target: *const c_char, link: *const c_char) -> c_int;
}

fn symlink(target: &str, link: &str) -> Result<(), Error> {
    let (target, link) = (CString::new(target).unwrap(), CString::new(link).unwrap());
    match unsafe { libc_symlink(target.as_ptr(), link.as_ptr()) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
