//! The beginning of an HTTPS connection: within its own deadline, and which protocol follows.
//!
//! A connection in its handshake is a silent one: if places are short, it gives way like any other.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::server::wire::Wire;

/// The name of HTTP/2 in a handshake.
const HTTP2: &[u8] = b"h2";
/// The first byte of every handshake.
const HANDSHAKE: u8 = 0x16;
/// How long a client that does not speak HTTPS may take to read why it is closed.
const FAREWELL_PATIENCE: Duration = Duration::from_secs(1);
/// The answer to whoever does not speak HTTPS.
const PLAIN: &str = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n\
                     connection: close\r\ncontent-length: 144\r\n\r\n\
                     {\"type\":\"about:blank\",\"title\":\"Bad Request\",\"status\":400,\"code\":\"https_only\",\
                     \"detail\":\"this port speaks HTTPS: begin the address with https://\"}";

/// What a listener that speaks HTTPS needs.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    timeout: Duration,
}

/// The protocol that follows.
pub(super) enum Agreed {
    Http1(TlsStream<Wire>),
    Http2(TlsStream<Wire>),
}

impl Tls {
    /// With the certificates and protocols of `config`; a handshake may take `timeout`.
    pub fn new(config: Arc<ServerConfig>, timeout: Duration) -> Tls {
        Tls {
            acceptor: config.into(),
            timeout,
        }
    }
}

/// The protocol that both sides agree on; `None` if they agree on nothing.
pub(super) async fn agree(tls: &Tls, wire: Wire) -> Option<Agreed> {
    let shaking = tokio::time::timeout(tls.timeout, async {
        let mut first = [0];
        match wire.stream.peek(&mut first).await {
            Ok(1..) if first[0] == HANDSHAKE => {}
            Ok(1..) => {
                refuse(wire).await;
                return None;
            }
            Ok(0) | Err(_) => return None,
        }
        // Why it failed, the client was told.
        tls.acceptor.accept(wire).await.ok()
    });
    let stream = shaking.await.ok()??;
    match stream.get_ref().1.alpn_protocol() {
        Some(HTTP2) => Some(Agreed::Http2(stream)),
        Some(_) | None => Some(Agreed::Http1(stream)),
    }
}

/// Says why in the client's own words, and closes so that it can read it.
async fn refuse(mut wire: Wire) {
    let saying = async {
        wire.write_all(PLAIN.as_bytes()).await?;
        wire.shutdown().await?;
        let mut unread = [0; 1024];
        while wire.read(&mut unread).await? > 0 {}
        std::io::Result::Ok(())
    };
    // Whoever does not listen is closed as well.
    let _unheard = tokio::time::timeout(FAREWELL_PATIENCE, saying).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farewell_is_as_long_as_it_says() {
        let (head, body) = PLAIN.split_once("\r\n\r\n").unwrap();
        assert!(head.ends_with(&format!("content-length: {}", body.len())));
    }
}
