"""An extra sentence for errors that say what went wrong but not what to do about it."""

import errno

NO_INPUT = "there is no more standard input; the request sets it with `stdin`"
NO_SHELL = "lines that begin with ! or % are commands of notebooks, and there is no shell here; {install}"
NO_INSTALL = "packages cannot be installed while code runs; only those that the operator offers are available"
NO_NETWORK = "the network is closed to this code"
GRANT = "name the host in `grants.http`"
ONLY_HTTP = "only HTTP requests leave it"
GIVE_DATA = "give it the data in `files`, `stdin` or `input`"
_FORBIDDEN = (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOTCAPABLE)
READ_ONLY = "files can be written to the working directory, /mnt/data, /out and /tmp"


def on(error, message):
    """The sentence for an error that nobody caught, or None."""
    if isinstance(error, EOFError):
        # getpass has no message of its own.
        return NO_INPUT if message in ("EOF when reading a line", "") else None
    if isinstance(error, SyntaxError):
        line = (error.text or "").lstrip()
        return NO_SHELL.format(install=NO_INSTALL) if line[:1] in ("!", "%") else None
    if isinstance(error, OSError) and error.errno in _FORBIDDEN:
        return READ_ONLY if error.filename is not None else None
    return None
