"""The network. It is closed, and errors say so and how code gets its data instead, unless the run was granted
requests: then HTTP goes through the host."""

import errno
import http.client
import socket
import urllib.request

import advice
import http_socket
import secure

_REASON = f"{advice.NO_NETWORK}: it has no grant to reach {{place}}; {advice.GRANT}, or {advice.GIVE_DATA}"


def refused(place):
    return PermissionError(errno.EACCES, _REASON.format(place=place))


def _place(host, port=None):
    host = host.decode(errors="replace") if isinstance(host, (bytes, bytearray)) else host
    return f"{host or 'this machine'}:{port}" if port else f"{host or 'this machine'}"


def _look_up(host, port=None, *args, **kwargs):
    raise refused(_place(host, port))


def _look_up_name(name="", *args):
    raise refused(_place(name))


def _connect(address, *args, **kwargs):
    raise refused(_place(*address[:2]))


class Socket(socket.socket):
    """A socket whose errors say why it cannot connect."""

    def __init__(self, *args, **kwargs):
        try:
            super().__init__(*args, **kwargs)
        except OSError:
            raise refused("another machine") from None

    def connect(self, address):
        raise refused(_place(*address[:2]))

    def connect_ex(self, address):
        return errno.EACCES

    def bind(self, address):
        raise refused(_place(*address[:2]))

    def sendto(self, data, *rest):
        raise refused(_place(*rest[-1][:2]))


class HTTPSConnection(http.client.HTTPConnection):
    """A connection that is encrypted by the host, or refused in the same way as an unencrypted one."""

    default_port = http.client.HTTPS_PORT

    def __init__(self, host, port=None, *, context=None, **options):
        super().__init__(host, port, **options)

    def connect(self):
        super().connect()
        self.sock.secure = True


class HTTPSHandler(urllib.request.AbstractHTTPHandler):
    def __init__(self, debuglevel=None, context=None, check_hostname=None):
        super().__init__(debuglevel or 0)

    def https_open(self, request):
        return self.do_open(HTTPSConnection, request)

    https_request = urllib.request.AbstractHTTPHandler.do_request_


def install():
    socket.getaddrinfo = _look_up
    socket.gethostbyname = socket.gethostbyname_ex = socket.gethostbyaddr = _look_up_name
    socket.create_connection = socket.create_server = _connect
    socket.socket = Socket
    if not hasattr(http.client, "HTTPSConnection"):
        http.client.HTTPSConnection = HTTPSConnection
        urllib.request.HTTPSHandler = HTTPSHandler


def open_to_requests():
    """Lets HTTP through, for a run that was granted some. What it may reach, the host knows."""
    socket.getaddrinfo = http_socket.getaddrinfo
    socket.create_connection = http_socket.create_connection
    socket.socket = http_socket.HttpSocket
    secure.install()
