//! A server that answers by the path that it is asked for.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long a dripping server waits between two pieces.
const DRIP: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    /// The addresses at which it was reached.
    reached: Mutex<Vec<IpAddr>>,
    /// Connections that waited and were closed by whoever asked.
    given_up: Mutex<usize>,
    changed: Condvar,
    /// The head of the last request.
    head: Mutex<String>,
}

/// It listens at every address of this machine, so that what is refused could be reached.
pub(super) struct Server {
    port: u16,
    seen: Arc<Seen>,
}

impl Server {
    pub(super) fn start() -> Server {
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Seen>::default();
        let shared = Arc::clone(&seen);
        // It ends with the process of the tests.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                shared.begin(&stream);
                let seen = Arc::clone(&shared);
                // Whatever ends a connection, it is over.
                std::thread::spawn(move || drop(serve(stream, port, &seen)));
            }
        });
        Server { port, seen }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The grant for it.
    pub(super) fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The addresses at which it was reached, by connection.
    pub(super) fn reached(&self) -> Vec<String> {
        let reached = self.seen.reached.lock().unwrap();
        reached.iter().map(ToString::to_string).collect()
    }

    pub(super) fn last_head(&self) -> String {
        self.seen.head.lock().unwrap().clone()
    }

    /// Waits until so many connections that were never answered are closed.
    pub(super) fn await_given_up(&self, times: usize) {
        let given_up = self.seen.given_up.lock().unwrap();
        let waited =
            self.seen
                .changed
                .wait_timeout_while(given_up, Duration::from_secs(30), |given_up| {
                    *given_up < times
                });
        assert!(!waited.unwrap().1.timed_out(), "a connection stays open");
    }
}

impl Seen {
    fn begin(&self, stream: &TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let at = stream.local_addr().unwrap().ip().to_canonical();
        self.reached.lock().unwrap().push(at);
    }
}

/// Says this again and again until nobody listens.
fn for_ever(stream: &mut TcpStream, piece: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(piece)?;
        std::thread::sleep(pause);
    }
}

fn serve(mut stream: TcpStream, port: u16, seen: &Seen) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut head = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        head.push(line.trim_end().to_owned());
    }
    *seen.head.lock().unwrap() = head.join("\n");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = head[0].split(' ').nth(1).unwrap_or("/").to_owned();
    let answer = |status: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    };
    let json = "content-type: application/json\r\n";
    match path.as_str() {
        "/hello" => stream.write_all(&answer("200 OK", "", b"hello"))?,
        "/json" => stream.write_all(&answer("200 OK", json, br#"{"a": [1, 2]}"#))?,
        "/missing" => stream.write_all(&answer("404 Not Found", "", b"none"))?,
        "/echo" => {
            let lines = head.join("\n");
            let text = format!("{lines}\n\n{}", String::from_utf8_lossy(&body));
            stream.write_all(&answer("200 OK", "", text.as_bytes()))?;
        }
        "/redirect" => {
            let to = format!("location: http://127.0.0.1:{port}/hello\r\n");
            stream.write_all(&answer("302 Found", &to, b""))?;
        }
        "/redirect-elsewhere" => {
            let to = format!("location: http://127.0.0.3:{port}/hello\r\n");
            stream.write_all(&answer("302 Found", &to, b""))?;
        }
        // Whoever unpacks it has nothing.
        "/packed" => stream.write_all(&answer(
            "200 OK",
            "content-encoding: gzip\r\n",
            b"\x1f\x8b\x08",
        ))?,
        "/chunked" => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")?;
        }
        "/half" => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?,
        "/endless" | "/endless-head" | "/drip" | "/drip-head" => without_end(&mut stream, &path)?,
        // It is never answered.
        _ => {
            let _rest = std::io::copy(&mut reader, &mut std::io::sink());
            *seen.given_up.lock().unwrap() += 1;
            seen.changed.notify_all();
        }
    }
    Ok(())
}

/// Answers that go on until nobody listens, as fast as they can or a byte or a line at a time.
fn without_end(stream: &mut TcpStream, path: &str) -> std::io::Result<()> {
    let head: &[u8] = match path.ends_with("-head") {
        true => b"HTTP/1.1 200 OK\r\n",
        false => b"HTTP/1.1 200 OK\r\n\r\n",
    };
    stream.write_all(head)?;
    match path {
        "/endless" => for_ever(stream, &[b'x'; 64 * 1024], Duration::ZERO),
        "/endless-head" => for_ever(stream, b"x-field: y\r\n", Duration::ZERO),
        "/drip" => for_ever(stream, b"x", DRIP),
        _ => for_ever(stream, b"x: y\r\n", DRIP),
    }
}
