"""The lines of the user's source, for everything that quotes them: tracebacks, warnings, `inspect`.

A line ends where Python's own reader ends one. `str.splitlines` would also cut at form feeds and at
several Unicode characters, and would then quote the wrong line for every later number.
"""

import inspect
import linecache
import sys
import traceback
import warnings

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


def _next_frame(frame, skipped):
    """The next caller that a warning can name, or None where the script ends."""
    frame = frame.f_back
    while frame is not None and (_is_importing(frame) or frame.f_code.co_filename.startswith(skipped)):
        frame = frame.f_back
    return None if frame is None or _is_ours(frame) else frame


def _is_importing(frame):
    name = frame.f_code.co_filename
    return "importlib" in name and "_bootstrap" in name


def _warn(message, category=None, stacklevel=1, source=None, *, skip_file_prefixes=()):
    """Issue a warning, or maybe ignore it or raise an exception."""
    if isinstance(message, Warning):
        category = message.__class__
    elif category is None:
        category = UserWarning
    if not (isinstance(category, type) and issubclass(category, Warning)):
        raise TypeError(f"category must be a Warning subclass, not '{type(category).__name__}'")
    if not isinstance(skip_file_prefixes, tuple):
        raise TypeError("skip_file_prefixes must be a tuple of strs.")
    if skip_file_prefixes:
        stacklevel = max(2, stacklevel)
    frame = sys._getframe(1)
    for _ in range(stacklevel - 1):
        if frame is not None:
            frame = _next_frame(frame, skip_file_prefixes)
    names = sys.__dict__ if frame is None else frame.f_globals
    file, line = ("<sys>", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)
    registry = names.setdefault("__warningregistry__", {})
    module = names.get("__name__", "<unknown>")
    warnings.warn_explicit(message, category, file, line, module, registry, None, source)


def install():
    """Ends the stack, where code looks at it, with the script."""
    traceback.walk_stack = _walk_stack
    inspect.getouterframes = _outer_frames
    warnings.warn = _warn
