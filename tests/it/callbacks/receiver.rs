//! A receiver of callbacks, which answers by the path that is posted to, and remembers what came.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long a message may be awaited.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one that drips waits between two pieces.
const DRIP: Duration = Duration::from_millis(5);

/// A message that came.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a message is JSON")
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    messages: Mutex<Vec<Message>>,
    /// What is answered by paths, unless the path says it.
    answers: Mutex<HashMap<String, u16>>,
    changed: Condvar,
}

/// It listens until the tests' process ends.
pub(crate) struct Receiver {
    port: u16,
    seen: Arc<Seen>,
}

impl Receiver {
    pub(crate) fn start() -> Receiver {
        let listener = TcpListener::bind("[::]:0").expect("a port");
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                let seen = Arc::clone(&shared);
                // Whatever ends a connection, it is over.
                std::thread::spawn(move || drop(serve(stream, &seen)));
            }
        });
        Receiver { port, seen }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Connections so far, whatever came over them.
    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// From now on that path is answered so.
    pub(crate) fn answer(&self, path: &str, status: u16) {
        let mut answers = self.seen.answers.lock().expect("nobody panics");
        answers.insert(path.to_owned(), status);
    }

    /// Messages to a path so far.
    pub(crate) fn messages(&self, path: &str) -> Vec<Message> {
        let messages = self.seen.messages.lock().expect("nobody panics");
        let own = messages.iter().filter(|message| message.path == path);
        own.cloned().collect()
    }

    /// Waits until so many messages came to a path.
    #[track_caller]
    pub(crate) fn await_messages(&self, path: &str, count: usize) -> Vec<Message> {
        let of = |messages: &Vec<Message>| messages.iter().filter(|it| it.path == path).count();
        let messages = self.seen.messages.lock().expect("nobody panics");
        let waited = self
            .seen
            .changed
            .wait_timeout_while(messages, PATIENCE, |messages| of(messages) < count);
        let (messages, timeout) = waited.expect("nobody panics");
        assert!(!timeout.timed_out(), "{} messages to {path}", of(&messages));
        drop(messages);
        self.messages(path)
    }
}

fn serve(mut stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut headers) = (String::new(), HashMap::new());
    reader.read_line(&mut head)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or("/").to_owned();
    let message = Message {
        path: path.clone(),
        headers,
        body,
        at: Instant::now(),
    };
    // Before the message is seen: whoever waits for it may then have the path answered otherwise.
    let status = seen
        .answers
        .lock()
        .expect("nobody panics")
        .get(&path)
        .copied();
    seen.messages.lock().expect("nobody panics").push(message);
    seen.changed.notify_all();
    let answer = |stream: &mut TcpStream, status: u16, more: &str| {
        let head = format!("HTTP/1.1 {status} X\r\n{more}content-length: 2\r\n\r\nok");
        stream.write_all(head.as_bytes())
    };
    match (path.as_str(), status) {
        (_, Some(status)) => answer(&mut stream, status, ""),
        ("/hang", None) => std::io::copy(&mut reader, &mut std::io::sink()).map(drop),
        ("/redirect", None) => answer(&mut stream, 302, "location: /redirected\r\n"),
        ("/later", None) => answer(&mut stream, 503, "retry-after: 3600\r\n"),
        ("/huge", None) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            for_ever(&mut stream, &[b'x'; 64 * 1024], Duration::ZERO)
        }
        ("/drip", None) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            for_ever(&mut stream, b"x", DRIP)
        }
        ("/drip-head", None) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for_ever(&mut stream, b"x: y\r\n", DRIP)
        }
        ("/endless-head", None) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
            for_ever(&mut stream, b"x-field: y\r\n", Duration::ZERO)
        }
        ("/cut", None) => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        ("/nothing", None) => Ok(()),
        (_, None) => answer(&mut stream, 204, ""),
    }
}

/// Says this again and again until nobody listens.
fn for_ever(stream: &mut TcpStream, piece: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(piece)?;
        std::thread::sleep(pause);
    }
}
