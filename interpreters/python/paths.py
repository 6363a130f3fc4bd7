"""What the C library takes for a path and a system does not: the empty one, which it reads as the
working directory.
"""

import errno
import functools
import os

_ONE = (
    "chdir", "chmod", "listdir", "lstat", "mkdir", "open", "readlink", "remove", "rmdir", "scandir",
    "stat", "truncate", "unlink", "utime",
)
_TWO = ("link", "rename", "replace", "symlink")
_SETS = ("supports_dir_fd", "supports_effective_ids", "supports_fd", "supports_follow_symlinks")


def missing(path):
    """The error for a path that leads nowhere."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _of_one(function):
    @functools.wraps(function)
    def call(*args, **kwargs):
        if args and (args[0] == "" or args[0] == b""):
            raise missing(args[0])
        return function(*args, **kwargs)

    return call


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
        return path != "" and path != b"" and function(path, mode, **kwargs)

    return access


def install():
    for names, guard in ((_ONE, _of_one), (_TWO, _of_two), (("access",), _accessible)):
        for name in names:
            original = getattr(os, name, None)
            if original is not None:
                guarded = guard(original)
                setattr(os, name, guarded)
                for supporting in _SETS:
                    if original in getattr(os, supporting):
                        getattr(os, supporting).add(guarded)
