"""HTTP requests through the host, which decides where they may go."""

import errno
import socket

import advice
from componentize_py_types import Err
from wit_world.imports import outgoing_handler, streams, types

# What one write to a request's body takes.
WRITE_BYTES = 4096
READ_BYTES = 64 * 1024
NANOSECONDS = 1_000_000_000

_METHODS = {
    "GET": types.Method_Get, "HEAD": types.Method_Head, "POST": types.Method_Post, "PUT": types.Method_Put,
    "DELETE": types.Method_Delete, "OPTIONS": types.Method_Options, "TRACE": types.Method_Trace,
    "PATCH": types.Method_Patch, "CONNECT": types.Method_Connect,
}
# They are about a connection, and connections are the host's.
_OF_CONNECTIONS = {
    "connection", "host", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization",
    "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}
_TIMEOUTS = (
    types.ErrorCode_DnsTimeout, types.ErrorCode_ConnectionTimeout, types.ErrorCode_ConnectionReadTimeout,
    types.ErrorCode_ConnectionWriteTimeout, types.ErrorCode_HttpResponseTimeout,
)
_UNKNOWN = (types.ErrorCode_DestinationNotFound, types.ErrorCode_DnsError)
_CUT_SHORT = (types.ErrorCode_ConnectionTerminated, types.ErrorCode_HttpResponseIncomplete)


def failure(code, method, place):
    """The error that Python raises elsewhere for what went wrong."""
    if isinstance(code, types.ErrorCode_HttpRequestDenied):
        return PermissionError(errno.EACCES, f"{advice.NO_NETWORK}: no grant has {method} {place}; {advice.GRANT}")
    if isinstance(code, types.ErrorCode_DestinationIpProhibited):
        return PermissionError(errno.EACCES, f"{place} is at an address that is not reached from here")
    if isinstance(code, _UNKNOWN):
        return socket.gaierror(socket.EAI_NONAME, f"there is no host {place}, or nobody knows it now")
    if isinstance(code, _TIMEOUTS):
        return TimeoutError(errno.ETIMEDOUT, f"{place} did not answer in time")
    if isinstance(code, types.ErrorCode_ConnectionRefused):
        return ConnectionRefusedError(errno.ECONNREFUSED, f"no connection to {place}")
    if code is None or isinstance(code, _CUT_SHORT):
        return ConnectionResetError(errno.ECONNRESET, f"{place} ended the connection, or the host did")
    if isinstance(code, types.ErrorCode_TlsCertificateError):
        return OSError(errno.EPROTO, f"certificate verify failed: the certificate of {place} is not good")
    word = type(code).__name__.removeprefix("ErrorCode_")
    return OSError(errno.EPROTO, f"{method} {place} failed: {word}")


def _method(name):
    known = _METHODS.get(name)
    return known() if known else types.Method_Other(name)


def _options(timeout):
    if timeout is None:
        return None
    options = types.RequestOptions()
    wait = max(1, int(timeout * NANOSECONDS))
    options.set_connect_timeout(wait)
    options.set_first_byte_timeout(wait)
    options.set_between_bytes_timeout(wait)
    return options


def _write(body, data):
    """Writes the body. Whoever answers before it is whole has heard enough."""
    try:
        with body.write() as stream:
            for at in range(0, len(data), WRITE_BYTES):
                stream.blocking_write_and_flush(bytes(data[at : at + WRITE_BYTES]))
    except Err:
        return
    try:
        types.OutgoingBody.finish(body, None)
    except Err:
        return


def send(secure, host, port, method, path, headers, body, timeout):
    """Sends a request and waits for the head of the answer: status, headers, and the rest as `Rest`."""
    place = f"{host}:{port}"
    wanted = ((name.lower(), value) for name, value in headers)
    fields = [(name, value.encode("latin-1")) for name, value in wanted if name not in _OF_CONNECTIONS]
    if body and not any(name == "content-length" for name, _ in fields):
        fields.append(("content-length", str(len(body)).encode()))
    try:
        request = types.OutgoingRequest(types.Fields.from_list(fields))
        request.set_method(_method(method))
        request.set_scheme(types.Scheme_Https() if secure else types.Scheme_Http())
        bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
        request.set_authority(bracketed if port == (443 if secure else 80) else f"{bracketed}:{port}")
        request.set_path_with_query(path)
        out = request.body() if body else None
        future = outgoing_handler.handle(request, _options(timeout))
    except Err as error:
        if error.value is None or not type(error.value).__name__.startswith("ErrorCode_"):
            raise ValueError(f"{method} {place}{path} is not a request") from None
        raise failure(error.value, method, place) from None
    with future:
        if out is not None:
            _write(out, body)
        with future.subscribe() as pollable:
            pollable.block()
        answer = future.get().value
    if isinstance(answer, Err):
        raise failure(answer.value, method, place)
    response = answer.value
    with response.headers() as fields:
        headers = [(name, value.decode("latin-1")) for name, value in fields.entries()]
    return response.status(), headers, Rest(response, method, place)


class Rest:
    """The body of an answer."""

    def __init__(self, response, method, place):
        self._response = response
        self._about = method, place
        self._body = response.consume()
        self._stream = self._body.stream()

    def read(self):
        """The next piece; nothing at the end."""
        while self._stream is not None:
            try:
                piece = self._stream.blocking_read(READ_BYTES)
            except Err as error:
                if isinstance(error.value, streams.StreamError_Closed):
                    self.close()
                    break
                code = types.http_error_code(error.value.value)
                self.close()
                raise failure(code, *self._about) from None
            if piece:
                return piece
        return b""

    def close(self):
        held, self._stream, self._body, self._response = (self._stream, self._body, self._response), None, None, None
        for resource in held:
            if resource is not None:
                resource.__exit__(None, None, None)

    # Freed with the object, they would go in another order, in which the host does not let them go.
    __del__ = close
