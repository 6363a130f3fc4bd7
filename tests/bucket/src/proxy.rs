//! A way to the server that can be made to answer every request with 500.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

const REFUSAL: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// The end of a request's head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The way; its threads end with the test's process.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    fails: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn to(server: String) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, server) = (Arc::clone(&shared), server.clone());
                thread::spawn(move || serve(client, &server, &state));
            }
        });
        Proxy { address, state }
    }

    /// Where it answers.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers every request from now on with 500, or passes it on again.
    pub fn fail(&self, fails: bool) {
        self.state.fails.store(fails, Ordering::SeqCst);
        for connection in self.state.open().drain(..) {
            // Its client may have closed it.
            let _closed = connection.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn open(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(mut client: TcpStream, server: &str, state: &State) {
    if state.fails.load(Ordering::SeqCst) {
        refuse(&mut client);
        return;
    }
    let Ok(mut server) = TcpStream::connect(server) else {
        return;
    };
    let (Ok(mut from), Ok(mut to), Ok(kept)) =
        (server.try_clone(), client.try_clone(), client.try_clone())
    else {
        return;
    };
    state.open().push(kept);
    // Either end closes both.
    let back = thread::spawn(move || {
        let _ended = std::io::copy(&mut from, &mut to);
        let _closed = to.shutdown(Shutdown::Both);
    });
    let _ended = std::io::copy(&mut client, &mut server);
    let _closed = server.shutdown(Shutdown::Both);
    let _joined = back.join();
}

/// Answers once the head of a request was read, and reads the rest as long as the client sends.
fn refuse(client: &mut TcpStream) {
    let mut head = Vec::new();
    let mut some = [0; 4096];
    while !head.windows(HEAD_END.len()).any(|end| end == HEAD_END) {
        match client.read(&mut some) {
            Ok(0) | Err(_) => return,
            Ok(length) => head.extend_from_slice(&some[..length]),
        }
    }
    let _answered = client.write_all(REFUSAL);
    let _answered = client.shutdown(Shutdown::Write);
    while client.read(&mut some).is_ok_and(|length| length > 0) {}
}
