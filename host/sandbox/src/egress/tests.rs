//! The rules against names, addresses and servers that mean harm. Every server here is at a loopback address;
//! one of these is listed as the operator would list a private network, and stands for what may be reached.

mod server;

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Full};

use self::server::Server;
use super::*;

/// The one that may be reached.
const LISTED: &str = "127.0.0.2";

/// Gives each name its answers in turn, the last one again and again.
#[derive(Default)]
struct Names(Mutex<HashMap<String, Vec<Vec<IpAddr>>>>);

impl Names {
    fn of(names: &[(&str, &[&[&str]])]) -> Arc<Names> {
        let address = |text: &&str| text.parse::<IpAddr>().unwrap();
        let answers = |answers: &&[&[&str]]| {
            let each = answers
                .iter()
                .map(|answer| answer.iter().map(address).collect());
            each.collect()
        };
        let names = names
            .iter()
            .map(|(name, all)| ((*name).to_owned(), answers(all)));
        Arc::new(Names(Mutex::new(names.collect())))
    }
}

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Addresses> + Send + 'a>> {
        let mut names = self.0.lock().unwrap();
        let found = match names.get_mut(name) {
            None => Err(ResolveError::Unknown),
            Some(answers) if answers.len() > 1 => Ok(answers.remove(0)),
            Some(answers) => Ok(answers[0].clone()),
        };
        Box::pin(async move { found })
    }
}

/// Keeps what it hears.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Watch for Heard {
    fn refused(&self, event: &EgressEvent<'_>) {
        let EgressEvent {
            tenant: _,
            program: _,
            run,
            method,
            place,
            error,
        } = event;
        let line = format!("{run} {method} {place} {}", error.code().as_str());
        self.0.lock().unwrap().push(line);
    }
}

/// Rules under which everything is allowed at this port, as far as hosts go.
fn config(port: u16) -> EgressConfig {
    EgressConfig {
        allow: vec![format!("*:{port}").parse().unwrap(), "*".parse().unwrap()],
        allow_private: vec![LISTED.parse().unwrap()],
        request_timeout: Duration::from_secs(20),
        ..EgressConfig::default()
    }
}

fn granted(patterns: &[&str]) -> Outward {
    let grants = patterns
        .iter()
        .map(|pattern| HttpGrant::new(pattern, &[]).unwrap());
    Outward {
        grants: grants.collect(),
        secrets: Vec::new(),
        within: None,
        tenant: None,
    }
}

fn everything(port: u16) -> Outward {
    granted(&[&format!("*:{port}"), "*"])
}

fn get(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).body(Empty::new()).unwrap()
}

/// Sends it, and reads the whole answer.
async fn fetch<B>(
    egress: &Egress,
    pass: &Pass,
    request: Request<B>,
) -> Result<(u16, http::HeaderMap, Bytes), EgressError>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
{
    let (answer, driver) = egress.send(pass, request, Waits::default()).await?;
    let (parts, body) = answer.into_parts();
    let mut driver = std::pin::pin!(driver);
    let mut body = std::pin::pin!(body.collect());
    let mut is_over = false;
    loop {
        tokio::select! {
            read = &mut body => return Ok((parts.status.as_u16(), parts.headers, read?.to_bytes())),
            () = &mut driver, if !is_over => is_over = true,
        }
    }
}

#[tokio::test]
async fn no_address_that_is_refused_is_connected_to() {
    let server = Server::start("[::]:0", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let port = server.port();
    let thousand: Vec<&str> = std::iter::repeat_n(LISTED, 999)
        .chain(["127.0.0.1"])
        .collect();
    let names = Names::of(&[
        ("private.example", &[&["127.0.0.1"]]),
        ("mixed.example", &[&[LISTED, "127.0.0.1"]]),
        ("mixed-kinds.example", &[&[LISTED, "::1"]]),
        ("mapped.example", &[&["::ffff:127.0.0.2"]]),
        ("translated.example", &[&["64:ff9b::7f00:2"]]),
        ("many.example", &[&thousand]),
        ("metadata.google.internal", &[&["169.254.169.254"]]),
        ("localhost", &[&["127.0.0.1", "::1"]]),
    ]);
    let heard = Arc::<Heard>::default();
    let egress = Egress::with(config(port), names, Arc::clone(&heard) as _);
    let pass = egress.pass(everything(port), "task-1", "main");
    let hosts = [
        "127.0.0.1",
        "127.0.0.3",
        "0.0.0.0",
        "[::]",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:127.0.0.2]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "10.0.0.1",
        "100.64.0.1",
        "[fe80::1]",
        "192.168.1.1",
        "private.example",
        "mixed.example",
        "mixed-kinds.example",
        "mapped.example",
        "translated.example",
        "many.example",
        "metadata.google.internal",
        "localhost",
        "LOCALHOST",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "localhost.",
        "allowed.example@127.0.0.1",
    ];
    for host in hosts {
        let request = get(&format!("http://{host}:{port}/"));
        let error = fetch(&egress, &pass, request).await.unwrap_err();
        let code = error.code();
        assert!(
            matches!(code, Code::Prohibited | Code::BadTarget),
            "{host}: {error}"
        );
    }
    assert_eq!(server.connections(), 0);
    let heard = heard.0.lock().unwrap().clone();
    assert_eq!(heard.len(), hosts.len());
    assert_eq!(heard[0], format!("task-1 GET 127.0.0.1:{port} prohibited"));
    // The same server is reached where the operator lists its address.
    let listed = get(&format!("http://{LISTED}:{port}/"));
    assert_eq!(fetch(&egress, &pass, listed).await.unwrap().0, 200);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_name_is_resolved_once_for_each_request_and_what_was_checked_is_dialled() {
    let server = Server::start(
        "0.0.0.0:0",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi",
    )
    .await;
    let port = server.port();
    let names = Names::of(&[("rebinds.example", &[&[LISTED], &["127.0.0.1"], &[LISTED]])]);
    let egress = Egress::with(config(port), names, Arc::new(Logged));
    let pass = egress.pass(everything(port), "", "main");
    let url = format!("http://rebinds.example:{port}/");
    assert_eq!(fetch(&egress, &pass, get(&url)).await.unwrap().2, "hi");
    let second = fetch(&egress, &pass, get(&url)).await.unwrap_err();
    assert_eq!(second.code(), Code::Prohibited);
    fetch(&egress, &pass, get(&url)).await.unwrap();
    assert_eq!(server.reached(), [LISTED, LISTED]);
}

#[tokio::test]
async fn what_was_not_granted_is_refused_before_anything_is_resolved() {
    let names = Names::of(&[]);
    let mut config = config(81);
    config.allow = vec![
        "*.example:81".parse().unwrap(),
        "*.example".parse().unwrap(),
    ];
    let egress = Egress::with(config, names, Arc::new(Logged));
    let only_get = [String::from("GET")];
    let outward = Outward {
        grants: vec![
            HttpGrant::new("a.example", &only_get).unwrap(),
            HttpGrant::new("*.b.example:81", &[]).unwrap(),
            HttpGrant::new("elsewhere.test", &[]).unwrap(),
            HttpGrant::new("not-the-tenants.example", &[]).unwrap(),
        ],
        secrets: Vec::new(),
        within: Some(vec![
            "a.example".parse().unwrap(),
            "*.b.example:81".parse().unwrap(),
            "elsewhere.test".parse().unwrap(),
        ]),
        tenant: None,
    };
    let pass = egress.pass(outward, "", "main");
    let send = async |method: &str, url: &str| {
        let request = Request::builder().method(method).uri(url);
        let request = request.body(Empty::<Bytes>::new()).unwrap();
        fetch(&egress, &pass, request).await.unwrap_err()
    };
    // What is allowed gets as far as the resolver, which knows no names.
    for (method, url) in [
        ("GET", "http://a.example/"),
        ("GET", "https://a.example/"),
        ("POST", "http://x.b.example:81/"),
    ] {
        let error = send(method, url).await;
        assert_eq!(error.code(), Code::NoSuchHost, "{method} {url}: {error}");
    }
    for (method, url, words) in [
        (
            "POST",
            "http://a.example/",
            "no grant of this run has POST a.example:80",
        ),
        ("get", "http://a.example/", "grants.http"),
        ("GET", "http://a.example:8080/", "no grant"),
        ("GET", "http://a.example:22/", "no grant"),
        ("GET", "http://b.example:81/", "no grant"),
        ("GET", "http://x.b.example/", "no grant"),
        ("GET", "http://aa.example/", "no grant"),
        ("GET", "http://elsewhere.test/", "[egress] allow"),
        ("GET", "http://not-the-tenants.example/", "this tenant"),
    ] {
        let error = send(method, url).await;
        assert_eq!(error.code(), Code::Denied, "{method} {url}");
        assert!(error.to_string().contains(words), "{url}: {error}");
    }
    assert_eq!(
        send("CONNECT", "http://a.example/").await.code(),
        Code::BadMethod
    );
    let nothing = egress.pass(Outward::default(), "", "main");
    let error = fetch(&egress, &nothing, get("http://a.example/")).await;
    assert_eq!(error.unwrap_err().code(), Code::Denied);
}

#[tokio::test]
async fn redirects_and_packed_bodies_come_back_as_they_are() {
    let elsewhere = Server::start("127.0.0.1:0", "").await;
    for code in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {code} Moved\r\nlocation: http://127.0.0.1:{}/\r\ncontent-encoding: gzip\r\n\
             connection: close, x-hop\r\nx-hop: 1\r\ncontent-length: 4\r\n\r\n\u{1f}\u{8}xy",
            elsewhere.port()
        );
        let server = Server::start("127.0.0.2:0", &answer).await;
        let egress = Egress::with(config(server.port()), Names::of(&[]), Arc::new(Logged));
        let pass = egress.pass(everything(server.port()), "", "main");
        let request = get(&format!("http://127.0.0.2:{}/", server.port()));
        let (status, headers, body) = fetch(&egress, &pass, request).await.unwrap();
        assert_eq!((status, &body[..]), (code, &b"\x1f\x08xy"[..]));
        assert_eq!(headers["content-encoding"], "gzip");
        assert!(headers.contains_key("location") && !headers.contains_key("x-hop"));
        assert_eq!((server.connections(), elsewhere.connections()), (1, 0));
    }
}

#[tokio::test]
async fn a_request_on_the_wire_is_for_one_host_and_has_one_length() {
    let server = Server::start(
        "127.0.0.2:0",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let port = server.port();
    let egress = Egress::with(
        config(port),
        Names::of(&[("a.example", &[&[LISTED]])]),
        Arc::new(Logged),
    );
    let pass = egress.pass(everything(port), "", "main");
    let request = Request::post(format!("http://a.example:{port}/http://evil.example/?q#f"))
        .header("host", "evil.example")
        .header("host", "127.0.0.1")
        .header("connection", "x-secret, keep-alive")
        .header("x-secret", "1")
        .header("transfer-encoding", "chunked")
        .header("te", "trailers")
        .header("upgrade", "h2c")
        .header("proxy-authorization", "x")
        .header("x-kept", "yes")
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    fetch(&egress, &pass, request).await.unwrap();
    let seen = server.last_request().await;
    let mut lines: Vec<&str> = seen.split("\r\n").collect();
    lines[1..].sort_unstable();
    let host = format!("host: a.example:{port}");
    let expected = [
        "POST /http://evil.example/?q HTTP/1.1",
        "",
        "body",
        "connection: close",
        "content-length: 4",
        &host,
        "x-kept: yes",
    ];
    assert_eq!(lines, expected);
    let twice = Request::post(format!("http://a.example:{port}/"))
        .header("content-length", "4")
        .header("content-length", "40")
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    let error = fetch(&egress, &pass, twice).await.unwrap_err();
    assert_eq!((error.code(), server.connections()), (Code::Protocol, 1));
}

#[tokio::test]
async fn a_run_gets_no_more_than_it_may() {
    let endless_body = Server::endless("HTTP/1.1 200 OK\r\n\r\n", "x").await;
    let endless_head = Server::endless("HTTP/1.1 200 OK\r\n", "x-field: y\r\n").await;
    let endless_line = Server::endless("HTTP/1.1 200 OK\r\nx: ", "y").await;
    let endless_hints = Server::endless("", "HTTP/1.1 100 Continue\r\n\r\n").await;
    for (server, expected) in [
        (&endless_body, Code::InBytes),
        (&endless_head, Code::Head),
        (&endless_line, Code::Head),
        (&endless_hints, Code::InBytes),
    ] {
        let mut config = config(server.port());
        config.in_bytes = 1 << 20;
        let egress = Egress::with(config, Names::of(&[]), Arc::new(Logged));
        let pass = egress.pass(everything(server.port()), "", "main");
        let url = format!("http://127.0.0.2:{}/", server.port());
        let error = fetch(&egress, &pass, get(&url)).await.unwrap_err();
        assert_eq!(error.code(), expected, "{error}");
        let used = pass.account().usage();
        assert!(used.in_bytes <= (1 << 20) + (64 << 10), "{used:?}");
        if expected == Code::InBytes {
            // It is used up for good.
            let next = fetch(&egress, &pass, get(&url)).await.unwrap_err();
            assert_eq!((next.code(), server.connections()), (Code::InBytes, 1));
            pass.account().begin_call();
            assert_eq!(pass.account().usage(), Default::default());
        }
    }
}

#[tokio::test]
async fn a_run_sends_no_more_than_it_may() {
    let server = Server::start("127.0.0.2:0", "").await;
    let mut config = config(server.port());
    (config.out_bytes, config.requests) = (100_000, 2);
    let egress = Egress::with(config, Names::of(&[]), Arc::new(Logged));
    let pass = egress.pass(everything(server.port()), "", "main");
    let url = format!("http://127.0.0.2:{}/", server.port());
    let body = Full::new(Bytes::from(vec![7; 200_000]));
    let request = Request::post(&url).body(body).unwrap();
    let error = fetch(&egress, &pass, request).await.unwrap_err();
    assert_eq!(error.code(), Code::OutBytes, "{error}");
    assert_eq!(pass.account().usage().out_bytes, 100_000);
    let second = fetch(&egress, &pass, get(&url)).await.unwrap_err();
    assert_eq!(second.code(), Code::OutBytes);
    let third = fetch(&egress, &pass, get(&url)).await.unwrap_err();
    assert_eq!(third.code(), Code::Requests);
    assert_eq!(pass.account().usage().requests, 2);
}

#[tokio::test]
async fn a_request_ends_in_time_whatever_the_server_does() {
    let drip = Server::dripping("HTTP/1.1 200 OK\r\n\r\n", "x").await;
    let drip_head = Server::dripping("HTTP/1.1 200 OK\r\n", "x: y\r\n").await;
    let silent = Server::start("127.0.0.2:0", "").await;
    for server in [&drip, &drip_head, &silent] {
        let mut config = config(server.port());
        config.request_timeout = Duration::from_millis(200);
        let egress = Egress::with(config, Names::of(&[]), Arc::new(Logged));
        let pass = egress.pass(everything(server.port()), "", "main");
        let request = get(&format!("http://127.0.0.2:{}/", server.port()));
        let error = fetch(&egress, &pass, request).await.unwrap_err();
        assert_eq!(error.code(), Code::Timeout, "{error}");
    }
    let closing = Server::closing("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let egress = Egress::with(config(closing.port()), Names::of(&[]), Arc::new(Logged));
    let pass = egress.pass(everything(closing.port()), "", "main");
    let request = get(&format!("http://127.0.0.2:{}/", closing.port()));
    let error = fetch(&egress, &pass, request).await.unwrap_err();
    assert_eq!(error.code(), Code::Incomplete, "{error}");
}

#[tokio::test]
async fn connections_of_a_run_wait_for_one_another() {
    let server = Server::start(
        "127.0.0.2:0",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
    )
    .await;
    let mut config = config(server.port());
    config.connections = 2;
    let egress = Egress::with(config, Names::of(&[]), Arc::new(Logged));
    let pass = egress.pass(everything(server.port()), "", "main");
    let url = format!("http://127.0.0.2:{}/", server.port());
    let all = (0..50).map(|_| fetch(&egress, &pass, get(&url)));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.unwrap().0, 200);
    }
    assert_eq!(server.connections(), 50);
    assert!(server.most_at_once() <= 2);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    // What a server that speaks no TLS says is no handshake either.
    let server = Server::start("127.0.0.2:0", "HTTP/1.1 200 OK\r\n\r\n").await;
    let egress = Egress::with(config(server.port()), Names::of(&[]), Arc::new(Logged));
    let pass = egress.pass(everything(server.port()), "", "main");
    let request = get(&format!("https://127.0.0.2:{}/", server.port()));
    let error = fetch(&egress, &pass, request).await.unwrap_err();
    assert_eq!(error.code(), Code::Tls, "{error}");
}
