//! A name server that says what a test tells it to say, in datagrams and over connections. Nothing that it says may
//! be kept: the next question may have another answer.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};

/// What a datagram may hold of an answer.
const DATAGRAM_BYTES: usize = 512;
const HEAD_BYTES: usize = 12;
const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;

/// It answers until the tests' process ends.
pub(crate) struct Names {
    at: SocketAddr,
}

/// The answers to a name, one after the other, the last one again and again. Each is a list of addresses and of
/// other names that it stands for.
type Answers = Vec<Vec<String>>;

/// All names, each with the number of times that its IPv4 addresses were asked for.
#[derive(Default)]
struct Zone(Mutex<HashMap<String, (Answers, usize)>>);

impl Names {
    /// Knows these names.
    pub(crate) fn start(names: &[(&str, &[&[&str]])]) -> Names {
        let texts = |answer: &&[&str]| answer.iter().map(|it| (*it).to_owned()).collect();
        let names = names.iter().map(|(name, answers)| {
            let answers = answers.iter().map(texts).collect();
            ((*name).to_owned(), (answers, 0))
        });
        let zone = Arc::new(Zone(Mutex::new(names.collect())));
        let (datagrams, connections, at) = sockets();
        let shared = Arc::clone(&zone);
        std::thread::spawn(move || by_datagrams(&datagrams, &shared));
        std::thread::spawn(move || {
            for stream in connections.incoming().flatten() {
                let zone = Arc::clone(&zone);
                // Whatever ends a connection, it is over.
                std::thread::spawn(move || drop(by_connection(stream, &zone)));
            }
        });
        Names { at }
    }

    /// Its line in `[egress]`.
    pub(crate) fn config(&self) -> String {
        format!("name_servers = [\"{}\"]\n", self.at)
    }
}

/// Both kinds of sockets at one port.
fn sockets() -> (UdpSocket, TcpListener, SocketAddr) {
    loop {
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = datagrams.local_addr().expect("it is bound");
        // Somebody else may have that of the other kind.
        if let Ok(connections) = TcpListener::bind(at) {
            return (datagrams, connections, at);
        }
    }
}

fn by_datagrams(socket: &UdpSocket, zone: &Zone) {
    let mut buffer = [0; 4096];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        let answer = zone.answer(&buffer[..length]);
        let cut = match answer.len() <= DATAGRAM_BYTES {
            true => answer,
            false => cut_short(&buffer[..length]),
        };
        // Who does not get it asks again.
        let _lost = socket.send_to(&cut, from);
    }
}

fn by_connection(mut stream: TcpStream, zone: &Zone) -> std::io::Result<()> {
    loop {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut question)?;
        let answer = zone.answer(&question);
        let length = u16::try_from(answer.len()).expect("no answer is longer");
        stream.write_all(&[&length.to_be_bytes(), &answer[..]].concat())?;
    }
}

/// Where the first question of a message ends, the name in it, and what is asked of it.
fn question(message: &[u8]) -> (usize, String, u16) {
    let (mut at, mut labels) = (HEAD_BYTES, Vec::new());
    while message[at] != 0 {
        let end = at + 1 + usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..end]).to_lowercase());
        at = end;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (at + 5, labels.join("."), kind)
}

/// A message that answers another with so many records.
fn head(asked: &[u8], flags: u16, records: usize) -> Vec<u8> {
    let (end, ..) = question(asked);
    let records = u16::try_from(records).expect("there are fewer");
    let mut message = asked[..2].to_vec();
    for number in [flags, 1, records, 0, 0] {
        message.extend(number.to_be_bytes());
    }
    message.extend(&asked[HEAD_BYTES..end]);
    message
}

/// An answer that says that it does not fit.
fn cut_short(asked: &[u8]) -> Vec<u8> {
    head(asked, 0x8380, 0)
}

fn encoded(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(u8::try_from(label.len()).expect("labels are short"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn record(name: &str, kind: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("data are short");
    let mut bytes = encoded(name);
    bytes.extend(kind.to_be_bytes());
    // The class of the Internet, and for no time.
    bytes.extend([0, 1, 0, 0, 0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(data);
    bytes
}

impl Zone {
    fn answer(&self, asked: &[u8]) -> Vec<u8> {
        let (_, name, kind) = question(asked);
        let records = self.records(&name, kind);
        let flags = match records {
            Some(_) => 0x8180,
            // There is no such name.
            None => 0x8183,
        };
        let records = records.unwrap_or_default();
        let mut message = head(asked, flags, records.len());
        message.extend(records.concat());
        message
    }

    /// The records of a name, with those of the names that it stands for behind them.
    fn records(&self, name: &str, kind: u16) -> Option<Vec<Vec<u8>>> {
        let answer = self.turn(name, kind)?;
        let mut records = Vec::new();
        for text in answer {
            match text.parse() {
                Ok(IpAddr::V4(address)) if kind == A => {
                    records.push(record(name, A, &address.octets()));
                }
                Ok(IpAddr::V6(address)) if kind == AAAA => {
                    records.push(record(name, AAAA, &address.octets()));
                }
                Ok(IpAddr::V4(_) | IpAddr::V6(_)) => {}
                Err(_) => {
                    records.push(record(name, CNAME, &encoded(&text)));
                    records.extend(self.records(&text, kind).unwrap_or_default());
                }
            }
        }
        Some(records)
    }

    fn turn(&self, name: &str, kind: u16) -> Option<Vec<String>> {
        let mut names = self.0.lock().expect("nobody panics");
        let (answers, asked) = names.get_mut(name)?;
        let turn = (*asked).min(answers.len() - 1);
        *asked += usize::from(kind == A);
        Some(answers[turn].clone())
    }
}
