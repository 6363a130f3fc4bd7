"""Puts together what a run answers: the value as JSON, or the error with the user's frames only."""

import json
import linecache
import math
import sys
import traceback

REPR_LIMIT = 4096
MESSAGE_LIMIT = 16 * 1024
TRACEBACK_LIMIT = 64 * 1024
MAIN = "main.py"
# Where the tool that builds the module mounts this directory.
OURS = "/0/"

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_format = traceback.TracebackException
_cache = linecache.cache

# Sources of a session's calls that its tracebacks can quote; older ones are shown by number only.
REMEMBERED = 256
_remembered = []


def shown(value):
    try:
        text = hex(value) if type(value) is int else repr(value)
    except BaseException:
        text = object.__repr__(value)
    return text if len(text) <= REPR_LIMIT else text[:REPR_LIMIT]


def _finite(value):
    """The value with NaN and the infinities as null, for JSON has no word for them."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def result_fields(value):
    """The fields `result` and, where JSON cannot say it all, `result_repr`, as JSON text."""
    if value is None:
        return '"result":null'
    try:
        return '"result":' + _encode(value)
    except ValueError:
        try:
            return f'"result":{_encode(_finite(value))},"result_repr":{_encode(shown(value))}'
        except BaseException:
            pass
    except BaseException:
        pass
    return f'"result":null,"result_repr":{_encode(shown(value))}'


def completed(value):
    return f'{{"status":"completed",{result_fields(value)},"exit_code":0,"error":null}}'


def exited(code):
    if code == 0:
        return completed(None)
    return _failed(code, "exit", "SystemExit", f"the script exited with code {code}", None)


def _failed(code, kind, name, message, text):
    error = {"kind": kind, "type": name, "message": message, "traceback": text}
    return f'{{"status":"failed","result":null,"exit_code":{code},"error":{_encode(error)}}}'


def _clip(text, limit):
    return text if len(text) <= limit else text[:limit] + "… (truncated)\n"


def _without_ours(report):
    """Takes out the frames below the script's that are the interpreter's, through all causes."""
    while report is not None:
        report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(OURS)]
        report = report.__cause__ or report.__context__


def _users_frames(trace, file):
    """Skips the interpreter's own frames, which lie above the script's."""
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    return trace


def _quotable(file, source):
    _cache[file] = (len(source), None, source.splitlines(True), file)


def remember(file, source):
    """Keeps the source of a session's call, for an error in a later one."""
    _quotable(file, source)
    _remembered.append(file)
    if len(_remembered) > REMEMBERED:
        _cache.pop(_remembered.pop(0), None)


def raised(error, source, file):
    """Reports an uncaught exception, on stderr as well, as Python itself does."""
    name = type(error).__qualname__
    try:
        _quotable(file, source)
        report = _format(type(error), error, _users_frames(error.__traceback__, file), compact=True, limit=-100)
        _without_ours(report)
        text = "".join(report.format())
        message = str(error)
    except BaseException:
        # Out of memory or of stack, even to say so.
        text = message = name
    text = _clip(text, TRACEBACK_LIMIT)
    try:
        sys.stdout.flush()
        sys.stderr.write(text if text.endswith("\n") else text + "\n")
    except BaseException:
        pass
    return _failed(1, "guest_error", name, _clip(message, MESSAGE_LIMIT), text)
