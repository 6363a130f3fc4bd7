//! Stands between hosts and their database, and understands just enough of what they say to cut a
//! connection around a commit.
//!
//! It looks for the ends of transactions that change something, and tells apart those whose commit waits
//! for the disk.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// A transaction that is to be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    /// It does not wait for the disk: a claim, a heartbeat.
    Hasty,
    /// It does: a submit, an end, a cancel.
    Durable,
}

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is passed on, and so is its answer.
    Pass,
    /// The server never gets it.
    Withhold,
    /// The server commits; the answer never arrives.
    Silence,
}

type Judge = Box<dyn FnMut(Commit) -> Fate + Send>;

/// The proxy. Connections are cut when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    over: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// One connection: both of its ends, and whether the next answer to a commit is kept back.
struct Pair {
    host: TcpStream,
    server: UnixStream,
    silence: AtomicBool,
}

impl Proxy {
    /// A proxy before the server with this socket. `judge` is asked about each commit; while it does not
    /// answer, that commit waits.
    pub(crate) fn before(
        socket: &Path,
        judge: impl FnMut(Commit) -> Fate + Send + 'static,
    ) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let judge: Arc<Mutex<Judge>> = Arc::new(Mutex::new(Box::new(judge)));
        let socket = socket.join(".s.PGSQL.5432");
        let is_over = Arc::clone(&over);
        let acceptor = thread::spawn(move || accept(&listener, &socket, &judge, &is_over));
        Proxy {
            address,
            over,
            acceptor: Some(acceptor),
        }
    }

    /// Where the database that every server has is behind it.
    pub(crate) fn url(&self) -> String {
        format!("postgres://cofferdam@{}/postgres", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        // It wakes the acceptor.
        let _last = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _panicked = acceptor.join();
        }
    }
}

fn accept(
    listener: &TcpListener,
    socket: &PathBuf,
    judge: &Arc<Mutex<Judge>>,
    is_over: &AtomicBool,
) {
    let mut pairs: Vec<(Arc<Pair>, [JoinHandle<()>; 2])> = Vec::new();
    for host in listener.incoming() {
        if is_over.load(Ordering::Acquire) {
            break;
        }
        // Whoever comes while the server is away is cut, and comes again.
        let (Ok(host), Ok(server)) = (host, UnixStream::connect(socket)) else {
            continue;
        };
        let silence = AtomicBool::new(false);
        let pair = Arc::new(Pair {
            host,
            server,
            silence,
        });
        let (there, back, judge) = (Arc::clone(&pair), Arc::clone(&pair), Arc::clone(judge));
        let ways = [
            thread::spawn(move || there.pass_questions(&judge)),
            thread::spawn(move || back.pass_answers()),
        ];
        pairs.retain(|(_, ways)| !ways.iter().all(JoinHandle::is_finished));
        pairs.push((pair, ways));
    }
    for (pair, ways) in pairs {
        pair.cut();
        for way in ways {
            let _panicked = way.join();
        }
    }
}

impl Pair {
    fn cut(&self) {
        let _already = self.host.shutdown(Shutdown::Both);
        let _already = self.server.shutdown(Shutdown::Both);
    }

    fn pass_questions(&self, judge: &Mutex<Judge>) {
        let (mut from, mut to) = (&self.host, &self.server);
        let mut is_first = true;
        let mut begun = None;
        while let Some(message) = message(&mut from, is_first) {
            is_first = false;
            let text = String::from_utf8_lossy(&message);
            if text.contains("BEGIN ISOLATION") {
                let is_read = text.contains("READ ONLY");
                begun = (!is_read).then(|| match text.contains("synchronous_commit = on") {
                    true => Commit::Durable,
                    false => Commit::Hasty,
                });
            }
            if let Some(commit) = begun
                && text.starts_with('Q')
                && text.ends_with("COMMIT\0")
            {
                match (judge.lock().expect("it does not panic"))(commit) {
                    Fate::Pass => {}
                    Fate::Withhold => break,
                    Fate::Silence => self.silence.store(true, Ordering::SeqCst),
                }
            }
            if to.write_all(&message).is_err() {
                break;
            }
        }
        self.cut();
    }

    fn pass_answers(&self) {
        let (mut from, mut to) = (&self.server, &self.host);
        while let Some(message) = message(&mut from, false) {
            let is_committed = message.starts_with(b"C") && message.ends_with(b"COMMIT\0");
            if is_committed && self.silence.load(Ordering::SeqCst) {
                break;
            }
            if to.write_all(&message).is_err() {
                break;
            }
        }
        self.cut();
    }
}

/// The next message: its kind, which the first one of a connection lacks, its length, and the rest.
fn message(from: &mut impl Read, is_first: bool) -> Option<Vec<u8>> {
    let head = if is_first { 4 } else { 5 };
    let mut message = vec![0; head];
    from.read_exact(&mut message).ok()?;
    let length: [u8; 4] = message[head - 4..].try_into().expect("four bytes");
    let length = usize::try_from(u32::from_be_bytes(length)).expect("a length");
    message.resize(head + length.checked_sub(4)?, 0);
    from.read_exact(&mut message[head..]).ok()?;
    Some(message)
}
