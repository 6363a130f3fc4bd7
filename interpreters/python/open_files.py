"""`open`, as far as it differs here, and which files a script has opened.

Files that the script left open are flushed at its end. A search among all objects would touch every
page of the snapshot, which costs several times as much as a short script. It happens only if the
script made a file object without `open`.
"""

import builtins
import functools
import gc
import io
import os
import sys
import weakref

import paths

_known = weakref.WeakSet()
_raw_opens = 0
_opens = 0


class Device(io.RawIOBase):
    """A file that accepts all writes and reads what `fill` makes."""

    def __init__(self, name, fill):
        self.name, self._fill = name, fill
        self.mode = "rb+"

    def readable(self):
        return True

    def writable(self):
        return True

    def readinto(self, buffer):
        data = self._fill(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, data):
        return memoryview(data).nbytes


_DEVICES = {
    "/dev/null": lambda size: b"",
    "/dev/zero": bytes,
    "/dev/random": os.urandom,
    "/dev/urandom": os.urandom,
}


class Appending(io.FileIO):
    """A file open for appending and reading. The C library always gives its end as the position,
    so the position is kept here."""

    _place = 0

    def seek(self, offset, whence=os.SEEK_SET, /):
        if whence == os.SEEK_CUR:
            offset, whence = self._place + offset, os.SEEK_SET
        self._place = super().seek(offset, whence)
        return self._place

    def tell(self):
        return self._place

    def write(self, data, /):
        written = super().write(data)
        self.seek(0, os.SEEK_END)
        return written

    def readinto(self, buffer, /):
        super().seek(self._place)
        size = super().readinto(buffer)
        self._place += size or 0
        return size

    def read(self, size=-1, /):
        return io.RawIOBase.read(self, size)

    def readall(self):
        return io.RawIOBase.readall(self)

    def truncate(self, size=None, /):
        return super().truncate(self._place if size is None else size)


def _count(event, arguments):
    global _raw_opens
    # os.open has no mode, and its files are not buffered.
    if event == "open" and isinstance(arguments[1], str):
        _raw_opens += 1


def _layered(raw, mode, buffering, encoding, errors, newline):
    """The object that `open` puts over a raw file."""
    binary = "b" in mode
    if binary and (encoding, errors, newline) != (None, None, None):
        raise ValueError("binary mode doesn't take an encoding, errors or newline argument")
    if buffering == 0:
        if not binary:
            raise ValueError("can't have unbuffered text I/O")
        return raw
    size = buffering if buffering > 1 else io.DEFAULT_BUFFER_SIZE
    if "+" in mode:
        buffered = io.BufferedRandom(raw, size) if raw.seekable() else io.BufferedRWPair(raw, raw, size)
    elif "r" in mode:
        buffered = io.BufferedReader(raw, size)
    else:
        buffered = io.BufferedWriter(raw, size)
    if binary:
        return buffered
    text = io.TextIOWrapper(buffered, io.text_encoding(encoding), errors, newline, buffering == 1)
    text.mode = mode
    return text


def _remembering(original):
    @functools.wraps(original)
    def open(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        global _opens, _raw_opens
        if file == "" or file == b"":
            raise paths.missing(file)
        place = os.fspath(file) if isinstance(file, os.PathLike) else file
        before = _raw_opens
        if place in _DEVICES:
            raw = Device(place, _DEVICES[place])
            opened = _layered(raw, mode, buffering, encoding, errors, newline)
        elif "a" in mode and "+" in mode:
            raw = Appending(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            raw.seek(0, os.SEEK_END)
            opened = _layered(raw, mode, buffering, encoding, errors, newline)
        else:
            if place in paths.STREAMS:
                file = paths.STREAMS[place]
            # The standard streams stay open when another file object over them closes.
            closefd = closefd and not (type(file) is int and 0 <= file <= 2)
            opened = original(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if _raw_opens > before:
            _opens += 1
        _known.add(opened)
        return opened

    return open


def install():
    sys.addaudithook(_count)
    builtins.open = io.open = sys.modules["_io"].open = _remembering(io.open)


def begin():
    """Forgets the files opened while the snapshot was made."""
    global _raw_opens, _opens
    _raw_opens = _opens = 0


def left():
    """The file objects that may hold unwritten data."""
    if _raw_opens > _opens:
        return [found for found in gc.get_objects() if isinstance(found, io.IOBase)]
    return list(_known)
