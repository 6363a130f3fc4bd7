"""The lines of the user's source, for everything that quotes them: tracebacks, warnings, `inspect`.

A line ends where Python's own reader ends one. `str.splitlines` would also cut at form feeds and at
several Unicode characters, and would then quote the wrong line for every later number.
"""

import inspect
import linecache
import sys
import traceback

MAIN = "main.py"
# The build tool mounts this directory here.
OURS = "/0/"
# Sources of a session's calls that can be quoted; older ones are shown by number only.
REMEMBERED = 256

_cache = linecache.cache
_remembered = []


def quotable(file, source):
    text = source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source
    lines = text.split("\n")
    last = lines.pop()
    lines = [line + "\n" for line in lines]
    if last:
        lines.append(last + "\n")
    _cache[file] = (len(source), None, lines, file)


def line(file, number):
    """One of the lines, counted from 1, or None."""
    lines = _cache[file][2]
    return lines[number - 1] if number and number <= len(lines) else None


def remember(file, source):
    """Keeps the source of a session's call, for an error in a later one."""
    quotable(file, source)
    _remembered.append(file)
    if len(_remembered) > REMEMBERED:
        _cache.pop(_remembered.pop(0), None)


def forget():
    """Forgets the sources of the rehearsals."""
    _cache.clear()


def _is_ours(frame):
    return frame.f_code.co_filename.startswith(OURS)


def _walk_stack(f):
    """Walk a stack yielding the frame and line number for each frame."""

    def walk(frame):
        while frame is not None and not _is_ours(frame):
            yield frame, frame.f_lineno
            frame = frame.f_back

    return walk(sys._getframe().f_back if f is None else f)


def _outer_frames(frame, context=1, _original=inspect.getouterframes):
    """Get a list of records for a frame and all higher (calling) frames."""
    return [found for found in _original(frame, context) if not _is_ours(found.frame)]


def install():
    """Ends the stack, where code looks at it, with the script."""
    traceback.walk_stack = _walk_stack
    inspect.getouterframes = _outer_frames
