//! HTTP/2 as clients use it: bodies in pieces, streams of events, many requests at once.

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::Secure;
use super::raw::HTTP2;
use crate::support::guests;

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection whose frames are moved by a thread of its own.
pub(super) struct Connection {
    requests: SendRequest<Bytes>,
    runtime: Runtime,
}

impl Connection {
    pub(super) fn open(secure: &Secure) -> Connection {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let config = HTTP2.trusting(&secure.authority.root());
        let (_scheme, address) = secure.host.client.base.split_once("://").unwrap();
        let requests = runtime.block_on(async {
            let stream = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from("localhost").unwrap();
            let stream = TlsConnector::from(config)
                .connect(name, stream)
                .await
                .unwrap();
            let (requests, connection) = h2::client::handshake(stream).await.unwrap();
            runtime.handle().spawn(connection);
            requests
        });
        Connection { requests, runtime }
    }

    fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let timed = async { tokio::time::timeout(PATIENCE, work).await };
        self.runtime.block_on(timed).expect("it ends in time")
    }

    /// Sends a head.
    fn begin(
        &self,
        method: &str,
        path: &str,
        has_body: bool,
    ) -> (ResponseFuture, h2::SendStream<Bytes>) {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("content-type", "application/octet-stream")
            .body(())
            .unwrap();
        let mut requests = self.wait(self.requests.clone().ready()).unwrap();
        requests.send_request(request, !has_body).unwrap()
    }

    /// Sends a request without a body, for its whole answer.
    fn get(&self, path: &str) -> (Response<()>, Bytes) {
        let (answering, _) = self.begin("GET", path, false);
        self.wait(async {
            let (head, body) = answering.await.unwrap().into_parts();
            (Response::from_parts(head, ()), whole(body).await.unwrap())
        })
    }
}

async fn whole(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

/// Sends a body as the peer takes it.
async fn send_all(mut to: h2::SendStream<Bytes>, mut body: Bytes) {
    while !body.is_empty() {
        to.reserve_capacity(body.len());
        let room = std::future::poll_fn(|context| to.poll_capacity(context)).await;
        let room = room.unwrap().unwrap().min(body.len());
        let is_last = room == body.len();
        to.send_data(body.split_to(room), is_last).unwrap();
    }
}

#[test]
fn bodies_go_both_ways_in_pieces() {
    let secure = Secure::start("");
    secure
        .host
        .client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let connection = Connection::open(&secure);
    let (head, body) = connection.get("/livez");
    assert_eq!(
        (head.status().as_u16(), &body[..]),
        (200, &b"{\"status\":\"alive\"}"[..])
    );
    assert!(head.headers().contains_key("date"), "{head:?}");
    assert_eq!(head.headers()["content-length"], body.len().to_string());
    // More than both windows and the connection's buffer hold.
    let sent: Bytes = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
    let (answering, to) = connection.begin("POST", "/v1/run/echo?memory_bytes=134217728", true);
    let (answer, ()) =
        connection.wait(async { tokio::join!(answering, send_all(to, sent.clone())) });
    let answer = answer.unwrap();
    let status = answer.status().as_u16();
    let got = connection.wait(whole(answer.into_body())).unwrap();
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&got));
    assert!(got == sent, "{} bytes came back", got.len());
    // A body that nobody reads harms nothing.
    let (answering, to) = connection.begin("POST", "/v1/nothing", true);
    let (answer, ()) = connection.wait(async {
        tokio::join!(answering, async {
            let mut to = to;
            to.send_data(Bytes::from(vec![0; 1000]), false).unwrap();
            let _reset = std::future::poll_fn(|context| to.poll_reset(context)).await;
        })
    });
    assert_eq!(answer.unwrap().status(), 404);
    assert_eq!(connection.get("/livez").0.status(), 200);
    let (answering, _) = connection.begin("HEAD", "/livez", false);
    let answer = connection.wait(answering).unwrap();
    assert!(answer.status().is_success() && answer.body().is_end_stream());
}

#[test]
fn events_come_while_other_requests_are_answered() {
    let secure = Secure::start("");
    secure
        .host
        .client
        .put_module("sleep", &guests::wat("sleep.wat"))
        .expect(201);
    let limits = json!({"timeout_ms": 600_000});
    let task = secure
        .host
        .client
        .submit(&json!({"module": "sleep", "limits": limits}));
    let connection = Connection::open(&secure);
    let (answering, _) = connection.begin("GET", &format!("/v1/tasks/{task}/events"), false);
    let mut events = connection.wait(answering).unwrap().into_body();
    let mut told = String::new();
    let mut hear = |until: &str, connection: &Connection| {
        while !told.contains(until) {
            let piece = connection.wait(events.data()).unwrap().unwrap();
            events.flow_control().release_capacity(piece.len()).unwrap();
            told.push_str(std::str::from_utf8(&piece).unwrap());
        }
    };
    hear("running", &connection);
    for _ in 0..10 {
        assert_eq!(connection.get("/livez").0.status(), 200);
    }
    secure
        .host
        .client
        .delete(&format!("/v1/tasks/{task}"))
        .expect(202);
    hear("cancelled", &connection);
}

#[test]
fn who_leaves_an_answer_unread_loses_that_one() {
    let secure = Secure::start("body_idle_timeout_ms = 500\n");
    secure
        .host
        .client
        .put_module("echo", &guests::wat("echo.wat"))
        .expect(201);
    let connection = Connection::open(&secure);
    let (answering, to) = connection.begin("POST", "/v1/run/echo?memory_bytes=134217728", true);
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let (answer, ()) = connection.wait(async { tokio::join!(answering, send_all(to, body)) });
    let mut unread = answer.unwrap().into_body();
    // It takes no more than the first window.
    let mut taken = 0;
    let ended = connection.wait(async {
        loop {
            match unread.data().await {
                Some(Ok(piece)) => taken += piece.len(),
                Some(Err(error)) => return error,
                None => panic!("the whole answer came, {taken} bytes"),
            }
        }
    });
    assert_eq!(ended.reason(), Some(Reason::CANCEL), "{ended}");
    assert!(taken < 1 << 20, "{taken}");
    // Until then it holds the room that the connection has for all answers.
    drop(unread);
    assert_eq!(connection.get("/livez").0.status(), 200);
}

#[test]
fn requests_at_once_count_as_connections() {
    let secure = Secure::start("connections_max = 3\n");
    secure
        .host
        .client
        .put_module("sleep", &guests::wat("sleep.wat"))
        .expect(201);
    let connection = Connection::open(&secure);
    let sleeping: Vec<_> = (0..3)
        .map(|_| connection.begin("POST", "/v1/run/sleep?timeout_ms=60000", false))
        .collect();
    // One more finds no place; operations have places of their own.
    loop {
        let (head, body) = connection.get("/v1/workers");
        if head.status() == 503 {
            let told = String::from_utf8_lossy(&body).into_owned();
            assert!(told.contains("connections_full"), "{told}");
            break;
        }
    }
    assert_eq!(connection.get("/livez").0.status(), 200);
    // Whoever takes a request back gives its place back.
    drop(sleeping);
    while connection.get("/v1/workers").0.status() != 200 {}
}
