"""Remembers the files that a script has opened, so that those it left open can be written out.

Looking for them among all objects would touch every page of the snapshot, which costs several times
what a short script does. It is done only where a script made a file object past `open`.
"""

import builtins
import functools
import gc
import io
import sys
import weakref

_known = weakref.WeakSet()
_raw_opens = 0
_opens = 0


def _count(event, arguments):
    global _raw_opens
    # os.open has no mode, and nothing of it is buffered.
    if event == "open" and isinstance(arguments[1], str):
        _raw_opens += 1


def _remembering(original):
    @functools.wraps(original)
    def open(*args, **kwargs):
        global _opens, _raw_opens
        before = _raw_opens
        file = original(*args, **kwargs)
        if _raw_opens > before:
            _opens += 1
        _known.add(file)
        return file

    return open


def install():
    sys.addaudithook(_count)
    builtins.open = io.open = sys.modules["_io"].open = _remembering(io.open)


def begin():
    """Forgets what was opened while the snapshot was made."""
    global _raw_opens, _opens
    _raw_opens = _opens = 0


def left():
    """The file objects that may hold what was not written yet."""
    if _raw_opens > _opens:
        return [found for found in gc.get_objects() if isinstance(found, io.IOBase)]
    return list(_known)
