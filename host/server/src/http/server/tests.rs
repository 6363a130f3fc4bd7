//! The accept loop against various clients, over a small router of the tests.

use std::net::Ipv4Addr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::{get, post};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;
use uuid::Uuid;

use super::*;
use crate::http::caller::keyless::without_keys;
use crate::http::peers::Peers;
use crate::http::room::Room;
use crate::http::server::places::PlaceLimits;
use cofferdam::telemetry::metrics::Metrics;
use cofferdam_domain::attempt::WorkerId;

/// A server on its own port and runtime.
struct Server {
    address: SocketAddr,
    shutdown: Shutdown,
    /// Signals that the slow handler was entered, and releases it.
    entered: Arc<Notify>,
    release: Arc<Notify>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(adjust: impl FnOnce(&mut HttpConfig)) -> Server {
        let mut config = HttpConfig {
            header_timeout: Duration::from_millis(300),
            drain_timeout: Duration::from_secs(5),
            ..HttpConfig::default()
        };
        adjust(&mut config);
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = bind(loopback, 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let (shutdown, entered, release) = (Shutdown::new(), Arc::default(), Arc::default());
        let api = Api::over(
            routes(&entered, &release),
            Vec::new(),
            Arc::new(Metrics::new()),
            Room::of_its_own(1 << 20, Duration::ZERO),
            Arc::new(Peers::new(WorkerId(Uuid::nil()), None)),
            without_keys(),
        );
        let limits = PlaceLimits::of(&config, config.connections_max);
        let (places, told) = (Places::new(limits), shutdown.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime
                .block_on(serve(listener, api, &config, places, None, told))
                .unwrap();
        });
        Server {
            address,
            shutdown,
            entered,
            release,
            thread: Some(thread),
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// The server's answer to `request` until it closes the connection.
    async fn tell(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        read_all(&mut stream).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shutdown.request();
        self.release.notify_waiters();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn routes(entered: &Arc<Notify>, release: &Arc<Notify>) -> Router {
    let entered_again = Arc::clone(entered);
    let (entered, release) = (Arc::clone(entered), Arc::clone(release));
    let slow = move || {
        let (entered, release) = (Arc::clone(&entered), Arc::clone(&release));
        async move {
            let released = release.notified();
            entered.notify_one();
            released.await;
            "slow"
        }
    };
    struct Gone(Arc<Notify>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let told = Arc::clone(&entered_again);
    let guarded = move || {
        let told = Arc::clone(&told);
        async move {
            told.notify_one();
            let _gone = Gone(told);
            std::future::pending::<&'static str>().await
        }
    };
    let large = || async { vec![b'x'; LARGE_BYTES] };
    let echo = |request: Request| async { request.into_body().collect().await.unwrap().to_bytes() };
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/livez", get(|| async { "alive" }))
        .route("/guarded", get(guarded))
        .route("/large", get(large))
        .route("/slow", get(slow))
        .route("/echo", post(echo))
        .route("/refuse", post(|| async { "refused" }))
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer is an end as well.
    let _reset = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(end) {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "closed after {answer:?}");
        answer.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    answer
}

/// More than the kernel holds for both sides.
const LARGE_BYTES: usize = 64 << 20;
const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const GET_AND_CLOSE: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let server = Server::start(|_| {});
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(GET).await.unwrap();
        assert!(
            read_until(&mut stream, "hello")
                .await
                .starts_with("HTTP/1.1 200 OK\r\n")
        );
    }
}

#[tokio::test]
async fn a_client_refused_while_it_sends_gets_the_answer_and_goes_on() {
    /// More than the kernel holds for both sides, so that it must be read to be sent.
    const BODY_BYTES: usize = 32 << 20;
    let server = Server::start(|_| {});
    let mut stream = server.connect().await;
    for _ in 0..2 {
        let head = format!(
            "POST /refuse HTTP/1.1\r\nhost: localhost\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&vec![b'x'; BODY_BYTES]).await.unwrap();
        read_until(&mut stream, "refused").await;
    }
    stream.write_all(GET).await.unwrap();
    read_until(&mut stream, "hello").await;
}

#[tokio::test]
async fn a_client_that_asks_before_it_sends_is_not_invited_to_be_refused() {
    let server = Server::start(|_| {});
    let answer = server
        .tell(
            b"POST /refuse HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
              content-length: 1000000\r\n\r\n",
        )
        .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("refused"), "{answer}");
}

#[tokio::test]
async fn slow_headers_and_idle_connections_are_closed() {
    let server = Server::start(|_| {});
    let started = std::time::Instant::now();
    for partial in [&b""[..], b"GET / HTTP/1.1\r\nhost:"] {
        assert!(!server.tell(partial).await.contains("200"), "{partial:?}");
    }
    let mut idle = server.connect().await;
    idle.write_all(GET).await.unwrap();
    assert!(read_all(&mut idle).await.ends_with("hello"));
    assert!(
        started.elapsed() >= Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_trickle_of_headers_does_not_buy_time() {
    let server = Server::start(|_| {});
    let mut stream = server.connect().await;
    let trickle = async {
        stream.write_all(b"GET / HTTP/1.1\r\n").await?;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stream.write_all(b"a: b\r\n").await?;
        }
    };
    let ended: Result<io::Result<()>, _> =
        tokio::time::timeout(Duration::from_secs(5), trickle).await;
    assert!(ended.unwrap().is_err());
}

#[tokio::test]
async fn ambiguous_and_oversized_requests_are_refused() {
    let server = Server::start(|_| {});
    let many: String = (0..200).map(|number| format!("h{number}: x\r\n")).collect();
    let long = format!(
        "GET / HTTP/1.1\r\nhost: localhost\r\nh: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    for (request, status) in [
        (
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"
                .to_owned(),
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: xchunked\r\n\r\nhello".to_owned(),
            "400",
        ),
        (
            "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: -5\r\n\r\nhello".to_owned(),
            "400",
        ),
        (
            "GET / HTTP/1.1\r\nhost: localhost\r\n folded: y\r\n\r\n".to_owned(),
            "400",
        ),
        ("GET /\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"), "431"),
        (long, "431"),
    ] {
        let answer = server.tell(request.as_bytes()).await;
        let shown: String = request.chars().take(80).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{shown:?}: {answer:?}"
        );
    }
}

#[tokio::test]
async fn a_length_beside_chunks_smuggles_nothing() {
    let server = Server::start(|_| {});
    let request = "POST /echo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\
                   transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = server.tell(request.as_bytes()).await;
    assert!(!answer.contains("slow"), "{answer:?}");
    assert!(answer.matches("HTTP/1.1").count() <= 1, "{answer:?}");
}

#[tokio::test]
async fn a_connection_beyond_the_cap_takes_the_place_of_a_silent_one() {
    let server = Server::start(|config| {
        config.connections_max = 1;
        config.header_timeout = Duration::from_secs(20);
    });
    let mut first = server.connect().await;
    first.write_all(GET).await.unwrap();
    read_until(&mut first, "hello").await;
    // A new connection keeps its place for a moment: the next one is refused.
    let early = server.tell(GET).await;
    assert!(early.starts_with("HTTP/1.1 503"), "{early:?}");
    assert!(
        early.contains("retry-after") && early.contains("connections_full"),
        "{early:?}"
    );
    loop {
        let answer = server.tell(GET_AND_CLOSE).await;
        if answer.ends_with("hello") {
            break;
        }
    }
    assert_eq!(read_all(&mut first).await, "");
}

#[tokio::test]
async fn a_busy_host_still_answers_operations() {
    let server = Server::start(|config| config.connections_max = 1);
    let mut busy = server.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    assert!(server.tell(GET).await.starts_with("HTTP/1.1 503"));
    let livez = b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let answer = server.tell(livez).await;
    assert!(answer.ends_with("alive"), "{answer:?}");
    server.release.notify_waiters();
    assert!(read_until(&mut busy, "slow").await.contains("200 OK"));
}

#[tokio::test]
async fn a_client_that_ends_its_side_is_answered() {
    let server = Server::start(|_| {});
    for request in [GET, b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n"] {
        let mut stream = server.connect().await;
        stream.write_all(request).await.unwrap();
        stream.shutdown().await.unwrap();
        if request != GET {
            server.entered.notified().await;
            // It is probed, and is still there.
            read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
            server.release.notify_waiters();
        }
        let answer = read_all(&mut stream).await;
        assert!(answer.contains("HTTP/1.1 200 OK"), "{answer:?}");
    }
}

#[tokio::test]
async fn work_for_a_client_that_is_gone_ends() {
    let server = Server::start(|_| {});
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /guarded HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    drop(stream);
    // The drop of the handler's guard signals it.
    let ended = tokio::time::timeout(Duration::from_secs(10), server.entered.notified());
    ended.await.expect("the handler is dropped");
}

#[tokio::test]
async fn an_answer_that_is_left_unread_is_cut_off() {
    let server = Server::start(|config| {
        config.body_idle_timeout = Duration::from_millis(500);
        config.bytes_per_second_min = 1 << 20;
    });
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    let mut drop_by_drop = [0; 64];
    // It reads a little at intervals, which is not enough.
    for _ in 0..100 {
        stream.read_exact(&mut drop_by_drop).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(read_all(&mut stream).await.len() < LARGE_BYTES / 2);
}

#[tokio::test]
async fn draining_finishes_open_requests_and_accepts_no_more() {
    let server = Server::start(|_| {});
    let mut open = server.connect().await;
    open.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    server.shutdown.request();
    // Refused once the listener is closed; until then the kernel may still take a connection.
    while TcpStream::connect(server.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    server.release.notify_waiters();
    // Reading to the end shows that the connection was closed after its answer.
    let answer = read_all(&mut open).await;
    assert!(answer.ends_with("slow"), "{answer:?}");
}

#[tokio::test]
async fn requests_that_do_not_finish_are_cut_off() {
    let server = Server::start(|config| config.drain_timeout = Duration::from_millis(100));
    let mut open = server.connect().await;
    open.write_all(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .await
        .unwrap();
    server.entered.notified().await;
    server.shutdown.request();
    assert_eq!(read_all(&mut open).await, "");
}

#[test]
fn listeners_share_one_port_and_no_stranger_joins() {
    let listeners = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 3).unwrap();
    let ports: Vec<u16> = listeners
        .iter()
        .map(|l| l.local_addr().unwrap().port())
        .collect();
    assert!(
        ports.len() == 3 && ports.iter().all(|port| *port == ports[0] && *port != 0),
        "{ports:?}"
    );
    let taken = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, ports[0])), 1).unwrap_err();
    assert!(matches!(taken, BindError::Refused { .. }), "{taken}");
}
