//! Messages between the host and a process that runs guests, over a pair of sockets that keep packets
//! apart.
//!
//! A message is a head, in postcard's form, and any number of pieces of bytes. The host sends what does not fit into
//! a packet in a file in memory, so that sending never waits; the process sends it in many packets, because
//! the host takes no descriptor from a process that may be a guest's by now. What the words mean is in
//! `messages`.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socketpair,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest packet, and what is before its bytes: the number of the run, and whether more follows.
pub(super) const PACKET_BYTES: usize = 64 * 1024;
const HEAD_BYTES: usize = 8;
/// Pieces of one message; a run has at most a few more than it has input files.
const PIECES_MAX: usize = 64 * 1024;
/// Descriptors that one packet carries.
const DESCRIPTORS_MAX: usize = 4;

/// What follows a packet's number.
const WHOLE: u32 = 0;
const MORE: u32 = 1;
const IN_FILE: u32 = 2;

/// A connected pair.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(
        AddressFamily::UNIX,
        kind,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Watches a socket for something to read, and for nothing else: what it takes wakes nobody.
pub(super) fn watch<T: AsFd + AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    #[expect(
        unsafe_code,
        reason = "tokio watches no socket of packets for its readability alone in another way"
    )]
    // SAFETY: `T` owns its descriptor or borrows it, so the descriptor stays open as long as it is watched, and it is
    // the same one each time.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}

/// The bytes of a message.
pub(super) fn encode<T: Serialize>(head: &T, pieces: &[Bytes]) -> io::Result<Vec<u8>> {
    let head = postcard::to_allocvec(head).map_err(io::Error::other)?;
    let body: usize = pieces.iter().map(Bytes::len).sum();
    let mut whole = Vec::with_capacity(8 + 4 * pieces.len() + head.len() + body);
    let length = |bytes: usize| {
        let length = u32::try_from(bytes);
        length.map_err(|_| io::Error::other("a message is longer than 4 GiB"))
    };
    whole.extend(length(head.len())?.to_le_bytes());
    whole.extend(length(pieces.len())?.to_le_bytes());
    for piece in pieces {
        whole.extend(length(piece.len())?.to_le_bytes());
    }
    whole.extend(head);
    for piece in pieces {
        whole.extend_from_slice(piece);
    }
    Ok(whole)
}

/// The message of these bytes, of which nothing is believed.
pub(super) fn decode<T: DeserializeOwned>(mut whole: Bytes) -> io::Result<(T, Vec<Bytes>)> {
    let cut = || io::Error::new(io::ErrorKind::InvalidData, "a message is cut short");
    let length = |whole: &mut Bytes| {
        let length = whole.try_get_u32_le().map_err(|_| cut())?;
        usize::try_from(length).map_err(|_| cut())
    };
    let head = length(&mut whole)?;
    let pieces = length(&mut whole)?;
    if pieces > PIECES_MAX {
        return Err(cut());
    }
    let lengths: io::Result<Vec<usize>> = (0..pieces).map(|_| length(&mut whole)).collect();
    let mut take = |bytes: usize| match bytes <= whole.len() {
        true => Ok(whole.split_to(bytes)),
        false => Err(cut()),
    };
    let head = take(head)?;
    let (head, rest) = postcard::take_from_bytes(&head).map_err(|_| cut())?;
    if !rest.is_empty() {
        return Err(cut());
    }
    let pieces: io::Result<Vec<Bytes>> = lengths?.into_iter().map(&mut take).collect();
    Ok((head, pieces?))
}

/// Sends a message to a process, with these descriptors. It does not wait: where the process has left no
/// room for a packet, the error is of the kind `WouldBlock`.
pub(super) fn send_order(
    link: impl AsFd,
    run: u32,
    whole: &[u8],
    with: &[BorrowedFd<'_>],
) -> io::Result<()> {
    if whole.len() + HEAD_BYTES <= PACKET_BYTES {
        return packet(link.as_fd(), (run, WHOLE), whole, with);
    }
    let file = memfd_create("cofferdam-order", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(file);
    file.write_all(whole)?;
    let length = (whole.len() as u64).to_le_bytes();
    let with: Vec<_> = with.iter().copied().chain([file.as_fd()]).collect();
    packet(link.as_fd(), (run, IN_FILE), &length, &with)
}

fn packet(
    link: BorrowedFd<'_>,
    (run, kind): (u32, u32),
    bytes: &[u8],
    with: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut head = [0; HEAD_BYTES];
    head[..4].copy_from_slice(&run.to_le_bytes());
    head[4..].copy_from_slice(&kind.to_le_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !with.is_empty() && !control.push(SendAncillaryMessage::ScmRights(with)) {
        return Err(io::Error::other("too many descriptors in one packet"));
    }
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let parts = [IoSlice::new(&head), IoSlice::new(bytes)];
    sendmsg(link, &parts, &mut control, flags)?;
    Ok(())
}

/// A message that came, and the run it is for.
pub(super) struct Received {
    pub(super) run: u32,
    pub(super) whole: Bytes,
    pub(super) with: Vec<OwnedFd>,
}

/// Takes the next message of the host by way of `buffer`, which has room for a packet, if one is there;
/// `None` at the end.
pub(super) fn receive_order(link: impl AsFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let parts = &mut [IoSliceMut::new(buffer)];
    let bytes = recvmsg(link, parts, &mut control, flags)?.bytes;
    let mut with = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            with.extend(descriptors);
        }
    }
    let packet = Bytes::copy_from_slice(&buffer[..bytes]);
    let Some((run, kind, payload)) = parts_of(packet) else {
        return Ok(None);
    };
    let whole = match (kind, with.pop()) {
        (IN_FILE, Some(file)) => in_file(payload, File::from(file))?,
        (_, last) => {
            with.extend(last);
            payload
        }
    };
    Ok(Some(Received { run, whole, with }))
}

fn in_file(mut payload: Bytes, file: File) -> io::Result<Bytes> {
    let length = payload.try_get_u64_le().map_err(io::Error::other)?;
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut whole = vec![0; length];
    // The position is where the writer left it.
    std::os::unix::fs::FileExt::read_exact_at(&file, &mut whole, 0)?;
    Ok(Bytes::from(whole))
}

fn parts_of(mut packet: Bytes) -> Option<(u32, u32, Bytes)> {
    let run = packet.try_get_u32_le().ok()?;
    let kind = packet.try_get_u32_le().ok()?;
    Some((run, kind, packet))
}

/// Sends a message to the host, and waits until it took enough of what was sent before.
pub(super) fn send_event(link: impl AsFd, run: u32, whole: &[u8]) -> io::Result<()> {
    let mut packet = Vec::with_capacity(PACKET_BYTES.min(HEAD_BYTES + whole.len()));
    let mut pieces = whole.chunks(PACKET_BYTES - HEAD_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        let kind = if pieces.peek().is_some() { MORE } else { WHOLE };
        packet.clear();
        packet.extend(run.to_le_bytes());
        packet.extend(kind.to_le_bytes());
        packet.extend_from_slice(piece);
        while let Err(error) = send(&link, &packet, SendFlags::NOSIGNAL) {
            match error {
                Errno::AGAIN | Errno::INTR => {
                    poll(&mut [PollFd::new(&link, PollFlags::OUT)], None)?;
                }
                other => return Err(other.into()),
            }
        }
    }
    Ok(())
}

/// Puts together what a process sends.
pub(super) struct Inbox {
    /// Whether the process ended before it had read all that it was sent.
    unread: bool,
    buffer: Vec<u8>,
    /// The beginning of a message, and its run.
    begun: Option<(u32, BytesMut)>,
}

/// Why nothing comes from a process that ended.
pub(super) const CLOSED: &str = "it closed its socket";
/// The same of one that had not read all that it was sent.
pub(super) const UNREAD: &str = "it closed its socket before it had read everything";

/// What one packet brought.
pub(super) enum Brought {
    /// The end of a message.
    Message(Received),
    /// A part of one.
    Part,
    /// Nothing: none is there.
    Nothing,
    /// The end: the process closed its side, or broke the rules.
    End(&'static str),
}

impl Inbox {
    pub(super) fn new() -> Inbox {
        Inbox {
            unread: false,
            buffer: vec![0; PACKET_BYTES],
            begun: None,
        }
    }

    /// Takes one packet. `most` says how long a message of a run may be, and is `None` for a run that
    /// does not exist.
    pub(super) fn take(&mut self, link: impl AsFd, most: impl Fn(u32) -> Option<usize>) -> Brought {
        let bytes = match recv(link, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((bytes, _)) => bytes,
            Err(Errno::AGAIN | Errno::INTR) => return Brought::Nothing,
            Err(Errno::CONNRESET) => {
                // What it sent before is still there.
                self.unread = true;
                return Brought::Part;
            }
            Err(_) => return Brought::End("its socket failed"),
        };
        if bytes == 0 {
            return Brought::End(if self.unread { UNREAD } else { CLOSED });
        }
        let (run, kind, payload) = match self.buffer[..bytes].split_at_checked(HEAD_BYTES) {
            Some((head, payload)) => {
                let number = |at: usize| {
                    u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
                };
                (number(0), number(4), payload)
            }
            None => return Brought::End("it sent a packet without a head"),
        };
        let Some(most) = most(run) else {
            return Brought::End("it spoke of a run that does not exist");
        };
        let mut whole = match self.begun.take() {
            Some((of, begun)) if of == run => begun,
            Some(_) => return Brought::End("it mixed two messages"),
            None => BytesMut::new(),
        };
        if whole.len() + payload.len() > most {
            return Brought::End("it sent more than its run may give");
        }
        whole.extend_from_slice(payload);
        match kind {
            MORE => {
                self.begun = Some((run, whole));
                Brought::Part
            }
            WHOLE => Brought::Message(Received {
                run,
                whole: whole.freeze(),
                with: Vec::new(),
            }),
            _ => Brought::End("it sent a packet of no known kind"),
        }
    }
}

/// Asks the host for memory and waits for the answer.
pub(super) fn ask(link: impl AsFd, run: u32, bytes: u64) -> bool {
    let mut question = [0; 12];
    question[..4].copy_from_slice(&run.to_le_bytes());
    question[4..].copy_from_slice(&bytes.to_le_bytes());
    let mut answer = [0];
    send(&link, &question, SendFlags::NOSIGNAL).is_ok()
        && recv(&link, &mut answer[..], RecvFlags::empty()).is_ok_and(|(bytes, _)| bytes == 1)
        && answer == [1]
}

/// Answers such a question, if one is there. `decide` knows how much a run may have.
pub(super) fn answer(link: impl AsFd, decide: impl FnOnce(u32, u64) -> bool) {
    let mut question = [0; 12];
    let asked = recv(&link, &mut question[..], RecvFlags::DONTWAIT);
    if !asked.is_ok_and(|(bytes, _)| bytes == question.len()) {
        return;
    }
    let [a, b, c, d, bytes @ ..] = question;
    let granted = decide(u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(bytes));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    // A process that does not take the answer has ended, or asks without end and waits for ever.
    let _unheard = send(&link, &[u8::from(granted)], flags);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_in_both_directions() {
        let (host, process) = pair().unwrap();
        for length in [0, 10, PACKET_BYTES, 5 << 20] {
            let pieces = [Bytes::from(vec![7; length]), Bytes::new()];
            let whole = encode(&"head", &pieces).unwrap();
            send_order(&host, 3, &whole, &[]).unwrap();
            let mut buffer = vec![0; PACKET_BYTES];
            let received = receive_order(&process, &mut buffer).unwrap().unwrap();
            assert_eq!((received.run, &received.whole[..]), (3, &whole[..]));
            let (head, came) = decode::<String>(received.whole).unwrap();
            assert_eq!((&*head, &came[..]), ("head", &pieces[..]));

            let sender = std::thread::spawn({
                let process = process.try_clone().unwrap();
                let whole = whole.clone();
                move || send_event(process, 9, &whole).unwrap()
            });
            let mut inbox = Inbox::new();
            let received = loop {
                match inbox.take(&host, |run| (run == 9).then_some(usize::MAX)) {
                    Brought::Message(received) => break received,
                    Brought::Part => {}
                    Brought::Nothing => std::thread::yield_now(),
                    Brought::End(why) => panic!("{why}"),
                }
            };
            sender.join().unwrap();
            assert_eq!((received.run, &received.whole[..]), (9, &whole[..]));
        }
    }

    #[test]
    fn a_hostile_process_is_found_out() {
        let packet = |run: u32, kind: u32, bytes: usize| {
            [
                run.to_le_bytes().to_vec(),
                kind.to_le_bytes().to_vec(),
                vec![1; bytes],
            ]
            .concat()
        };
        let cases: [(&[Vec<u8>], &str); 6] = [
            (&[vec![1, 2, 3]], "it sent a packet without a head"),
            (
                &[packet(8, WHOLE, 1)],
                "it spoke of a run that does not exist",
            ),
            (
                &[packet(9, WHOLE, 101)],
                "it sent more than its run may give",
            ),
            (
                &[packet(9, MORE, 60), packet(9, WHOLE, 60)],
                "it sent more than its run may give",
            ),
            (
                &[packet(9, MORE, 1), packet(7, WHOLE, 1)],
                "it mixed two messages",
            ),
            (
                &[packet(9, IN_FILE, 8)],
                "it sent a packet of no known kind",
            ),
        ];
        for (packets, expected) in cases {
            let (host, process) = pair().unwrap();
            let mut inbox = Inbox::new();
            let mut ended = None;
            for packet in packets {
                send(&process, packet, SendFlags::empty()).unwrap();
                let most = |run| [7, 9].contains(&run).then_some(100);
                if let Brought::End(why) = inbox.take(&host, most) {
                    ended = Some(why);
                }
            }
            assert_eq!(ended, Some(expected));
        }
        for bytes in [&[][..], &[9; 7], &[255; 8], &[2, 0, 0, 0, 0, 0, 0, 0, b'"']] {
            assert!(decode::<String>(Bytes::copy_from_slice(bytes)).is_err());
        }
        let many = [2_u32.to_le_bytes(), 60_000_u32.to_le_bytes()].concat();
        assert!(decode::<String>(many.into()).is_err());
    }

    #[test]
    fn descriptors_go_from_the_host_only() {
        let (host, process) = pair().unwrap();
        let (one, two) = pair().unwrap();
        send_order(&host, 0, b"x", &[one.as_fd(), two.as_fd()]).unwrap();
        let mut buffer = vec![0; PACKET_BYTES];
        let received = receive_order(&process, &mut buffer).unwrap().unwrap();
        assert_eq!(received.with.len(), 2);
        assert!(
            receive_order(&process, &mut buffer)
                .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
        );
        drop(host);
        assert!(receive_order(&process, &mut buffer).unwrap().is_none());
    }
}
