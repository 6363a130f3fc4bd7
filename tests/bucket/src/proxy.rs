//! A way to the server that can be made to answer every request with 500, or none at all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

const REFUSAL: &[u8] =
    b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// The end of a request's head.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The way; its threads end with the test's process.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

/// How long a request is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct State {
    fails: AtomicBool,
    holds: AtomicBool,
    held: Mutex<usize>,
    came: Condvar,
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
        self.cut();
    }

    /// Takes every request from now on and answers none, or passes them on again.
    pub fn hold(&self, holds: bool) {
        self.state.holds.store(holds, Ordering::SeqCst);
        self.cut();
    }

    /// Waits until a request came that is not answered.
    pub fn await_held(&self) {
        let held = self.state.held.lock().expect("no thread panics with it");
        let none = |held: &mut usize| *held == 0;
        let (_held, waited) = self
            .state
            .came
            .wait_timeout_while(held, PATIENCE, none)
            .expect("no thread panics with it");
        assert!(!waited.timed_out(), "no request came");
    }

    fn cut(&self) {
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
    if state.holds.load(Ordering::SeqCst) {
        hold(&mut client, state);
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

/// Reads as long as the client sends.
fn hold(client: &mut TcpStream, state: &State) {
    let mut some = [0; 4096];
    let mut is_first = true;
    while client.read(&mut some).is_ok_and(|length| length > 0) {
        if std::mem::take(&mut is_first) {
            *state.held.lock().expect("no thread panics with it") += 1;
            state.came.notify_all();
        }
    }
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
