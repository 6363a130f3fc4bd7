//! Servers that say what they are told to say, whatever they are asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How long a dripping server waits between two pieces.
const DRIP: Duration = Duration::from_millis(5);

/// What a server does after the beginning of its answer.
#[derive(Clone, Copy)]
enum Then {
    /// Nothing: it waits for the end of the connection.
    Wait,
    /// It closes the connection.
    Close,
    /// This, again and again.
    Repeat(&'static str),
    /// The same, with a pause between two.
    Drip(&'static str),
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    reached: Mutex<Vec<String>>,
}

pub(super) struct Server {
    port: u16,
    seen: Arc<Seen>,
    requests: watch::Receiver<String>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Answers each connection with this.
    pub(super) async fn start(at: &str, answer: &str) -> Server {
        Server::with(at, answer, Then::Wait).await
    }

    pub(super) async fn closing(answer: &str) -> Server {
        Server::with("127.0.0.2:0", answer, Then::Close).await
    }

    pub(super) async fn endless(answer: &str, piece: &'static str) -> Server {
        Server::with("127.0.0.2:0", answer, Then::Repeat(piece)).await
    }

    pub(super) async fn dripping(answer: &str, piece: &'static str) -> Server {
        Server::with("127.0.0.2:0", answer, Then::Drip(piece)).await
    }

    async fn with(at: &str, answer: &str, then: Then) -> Server {
        let listener = TcpListener::bind(at).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (seen, answer) = (Arc::<Seen>::default(), Arc::<str>::from(answer));
        let (sender, requests) = watch::channel(String::new());
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer, sender) =
                    (Arc::clone(&shared), Arc::clone(&answer), sender.clone());
                seen.begin(&stream);
                connections.spawn(async move {
                    // Whatever ends the connection, it is over.
                    let _over = serve(stream, &answer, then, &sender).await;
                    seen.at_once.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Server {
            port,
            seen,
            requests,
            _tasks: tasks,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(super) fn most_at_once(&self) -> usize {
        self.seen.most_at_once.load(Ordering::SeqCst)
    }

    /// The addresses at which it was reached.
    pub(super) fn reached(&self) -> Vec<String> {
        self.seen.reached.lock().unwrap().clone()
    }

    /// The last request that came whole.
    pub(super) async fn last_request(&self) -> String {
        let mut requests = self.requests.clone();
        let seen = requests.wait_for(|request| !request.is_empty()).await;
        seen.unwrap().clone()
    }
}

impl Seen {
    fn begin(&self, stream: &TcpStream) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let at_once = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let reached = stream.local_addr().unwrap().ip().to_string();
        self.reached.lock().unwrap().push(reached);
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &str,
    then: Then,
    requests: &watch::Sender<String>,
) -> std::io::Result<()> {
    let mut seen = Vec::new();
    loop {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).await?;
        seen.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&seen);
        if read == 0 || is_whole(&text) {
            requests.send_replace(text.into_owned());
            break;
        }
    }
    stream.write_all(answer.as_bytes()).await?;
    match then {
        Then::Close => return Ok(()),
        Then::Wait => {}
        Then::Repeat(piece) => {
            let piece = piece.repeat(1000);
            loop {
                stream.write_all(piece.as_bytes()).await?;
            }
        }
        Then::Drip(piece) => loop {
            stream.write_all(piece.as_bytes()).await?;
            tokio::time::sleep(DRIP).await;
        },
    }
    while stream.read(&mut [0; 4096]).await? > 0 {}
    Ok(())
}

/// Whether the whole request is there: its head, and a body as long as the head says. Text that is not HTTP
/// counts as whole at once.
fn is_whole(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return !text.is_ascii() || text.contains('\u{16}');
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length
        .and_then(|length| length.parse().ok())
        .unwrap_or(0_usize);
    body.len() >= length
}
