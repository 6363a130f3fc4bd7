"""Sockets that speak HTTP with the host.

Python's own HTTP client, and those that build on it or on sockets, write requests to a socket and read
answers from it. There are no sockets here, so this one reads the request that is written to it, has the host
send it, and gives the answer as it would have come. Nothing but HTTP goes through it.
"""

import errno
import http
import io
import socket

import advice
import requests_out

_HEAD_BYTES_MAX = 256 * 1024


class _Reader(io.RawIOBase):
    def __init__(self, owner):
        self._owner = owner

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._owner.recv_into(buffer)


class HttpSocket:
    """One connection: a request, and then its answer; and again."""

    family, type, proto = socket.AF_INET, socket.SOCK_STREAM, 6
    secure = False

    def __init__(self, *args, **kwargs):
        self._peer = None
        self._timeout = socket.getdefaulttimeout()
        self._begin()

    def _begin(self):
        self._written = bytearray()
        self._head = None
        self._answer = bytearray()
        self._rest = None

    # A socket

    def connect(self, address):
        host, port = address[:2]
        self._peer = (host.decode() if isinstance(host, (bytes, bytearray)) else host, int(port))

    def connect_ex(self, address):
        self.connect(address)
        return 0

    def getpeername(self):
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        return self._peer

    def getsockname(self):
        return ("0.0.0.0", 0)

    def settimeout(self, timeout):
        self._timeout = timeout

    def gettimeout(self):
        return self._timeout

    def setblocking(self, flag):
        self._timeout = None if flag else 0.0

    def getblocking(self):
        return self._timeout != 0.0

    def setsockopt(self, *args):
        pass

    def getsockopt(self, *args):
        return 0

    def fileno(self):
        return -1

    def _refused(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, f"{advice.NO_NETWORK}: {advice.ONLY_HTTP}")

    bind = listen = accept = sendto = recvfrom = sendfile = sendmsg = recvmsg = _refused

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.close()

    def shutdown(self, how):
        pass

    def close(self):
        rest, self._rest = self._rest, None
        # What makefile() gave reads on after the socket was closed, as elsewhere.
        self._orphan = rest
        if rest is not None and not self._readers:
            rest.close()

    def detach(self):
        return -1

    # Requests

    _readers = 0
    _orphan = None

    def sendall(self, data, flags=0):
        if self._answer or self._rest is not None:
            # The answer to the last request was read, or nobody wants the rest of it.
            self._begin()
        self._written += data
        self._take_head()
        body = self._body() if self._head is not None else None
        if body is not None:
            # Clients take errors that come here for those of the connection, which they are.
            self._exchange(body)

    def send(self, data, flags=0):
        self.sendall(data)
        return len(data)

    def _take_head(self):
        if self._head is not None:
            return
        end = self._written.find(b"\r\n\r\n")
        if end < 0:
            if len(self._written) > _HEAD_BYTES_MAX or not _may_begin(self._written):
                self._refused()
            return
        first, *lines = self._written[:end].decode("latin-1").split("\r\n")
        words = first.split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            self._refused()
        headers = [line.partition(":")[::2] for line in lines]
        self._head = words[0], words[1], [(name.strip(), value.strip()) for name, value in headers]
        del self._written[: end + 4]

    def _header(self, wanted):
        return next((value for name, value in self._head[2] if name.lower() == wanted), None)

    def _body(self):
        """The body, once it is whole."""
        written = self._written
        if (self._header("transfer-encoding") or "").lower() == "chunked":
            return _unchunked(written)
        length = int(self._header("content-length") or 0)
        return bytes(written[:length]) if len(written) >= length else None

    # Answers

    def _exchange(self, body):
        method, path, headers = self._head
        if self._peer is None:
            raise OSError(errno.ENOTCONN, "the socket is not connected")
        host, port = self._peer
        self._begin()
        sent = requests_out.send(self.secure, host, port, method, path, headers, body, self._timeout)
        status, headers, self._rest = sent
        try:
            phrase = http.HTTPStatus(status).phrase
        except ValueError:
            phrase = "Unknown"
        lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers), "connection: close", "", ""]
        self._answer += "\r\n".join(lines).encode("latin-1")

    def recv_into(self, buffer, nbytes=0, flags=0):
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view))
        view[: len(data)] = data
        return len(data)

    def recv(self, size, flags=0):
        rest = self._rest or self._orphan
        if not self._answer and rest is not None:
            self._answer += rest.read()
        data = bytes(self._answer[:size])
        del self._answer[:size]
        return data

    def makefile(self, mode="r", buffering=None, **kwargs):
        if "w" in mode:
            self._refused()
        self._readers += 1
        file = io.BufferedReader(_Reader(self))
        return file if "b" in mode else io.TextIOWrapper(file, **kwargs)


def _unchunked(written):
    """The chunks together, or None if the last is not there."""
    body, at = bytearray(), 0
    while (end := written.find(b"\r\n", at)) >= 0:
        length = int(bytes(written[at:end]).split(b";")[0], 16)
        after = end + 2 + length
        if len(written) < after + 2:
            return None
        if length == 0:
            return bytes(body)
        body += written[end + 2 : after]
        at = after + 2
    return None


def _may_begin(written):
    """Whether this can be the beginning of a request: a method in capitals."""
    method = bytes(written.split(b" ", 1)[0])
    return method.isupper() or not method


def create_connection(address, timeout=socket._GLOBAL_DEFAULT_TIMEOUT, source_address=None, **options):
    made = HttpSocket()
    if timeout is not socket._GLOBAL_DEFAULT_TIMEOUT:
        made.settimeout(timeout)
    made.connect(address)
    return made


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    """The host resolves names, so a name stands for its address."""
    host = host.decode() if isinstance(host, (bytes, bytearray)) else host
    port = {"http": 80, "https": 443, None: 0}.get(port, port)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host or "localhost", int(port)))]
