"""Paths that differ between Linux and the C library here.

The C library reads the empty path as the working directory, and has no devices: here `/dev/stdin` and
the like are names of descriptors, and `open_files` makes `/dev/null` and the like.
"""

import errno
import functools
import os
import stat

# The standard streams as files.
STREAMS = {
    f"{folder}/{name}": number
    for number, stream in enumerate(("stdin", "stdout", "stderr"))
    for folder, name in (("/dev", stream), ("/dev/fd", number), ("/proc/self/fd", number))
}
DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")

_NAMES = frozenset((*STREAMS, *DEVICES))
_ABOUT = os.stat_result((stat.S_IFCHR | 0o666, 0, 0, 1, 0, 0, 0, 0, 0, 0))
_ONE = (
    "chdir", "chmod", "listdir", "lstat", "mkdir", "open", "readlink", "remove", "rmdir", "scandir",
    "stat", "truncate", "unlink", "utime",
)
_TWO = ("link", "rename", "replace", "symlink")
_SETS = ("supports_dir_fd", "supports_effective_ids", "supports_fd", "supports_follow_symlinks")


def missing(path):
    """The error for a path that does not exist."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _of_one(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        if args and (args[0] == "" or args[0] == b""):
            raise missing(args[0])
        return function(*args, **kwargs)

    return call


def _is_device(path):
    return isinstance(path, (str, os.PathLike)) and os.fspath(path) in _NAMES


def _about(function):
    @functools.wraps(function)
    def call(path, *args, **kwargs):
        return _ABOUT if _is_device(path) else function(path, *args, **kwargs)

    return call


def _opening(function):
    @functools.wraps(function)
    def open(path, *args, **kwargs):
        name = os.fspath(path)
        return STREAMS[name] if name in STREAMS else function(path, *args, **kwargs)

    return open


def _of_two(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        for path in args[:2]:
            if path == "" or path == b"":
                raise missing(path)
        return function(*args, **kwargs)

    return call


def _accessible(function):
    @functools.wraps(function)
    def access(path, mode, **kwargs):
        return path != "" and path != b"" and (_is_device(path) or function(path, mode, **kwargs))

    return access


def install():
    guards = (
        (("stat", "lstat"), _about),
        (("open",), _opening),
        (_ONE, _of_one),
        (_TWO, _of_two),
        (("access",), _accessible),
    )
    for names, guard in guards:
        for name in names:
            original = getattr(os, name, None)
            if original is not None:
                guarded = guard(original)
                setattr(os, name, guarded)
                for supporting in _SETS:
                    if original in getattr(os, supporting):
                        getattr(os, supporting).add(guarded)
