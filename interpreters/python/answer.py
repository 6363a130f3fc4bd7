"""Builds the answer of a run: the value as JSON, or the error with the user's frames only."""

import json
import reprlib
import sys
import traceback

import advice
import lines
import value

REPR_LIMIT = 4096
MESSAGE_LIMIT = 16 * 1024
TRACEBACK_LIMIT = 64 * 1024

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_format = traceback.TracebackException
# For values whose repr() would not return.
_brief = reprlib.Repr(maxlevel=20, maxdict=100, maxlist=100, maxtuple=100, maxset=100, maxstring=1000, maxother=1000)


def _shown(item, nested):
    try:
        if nested:
            text = _brief.repr(item)
        else:
            text = hex(item) if type(item) is int else repr(item)
    except BaseException:
        text = _shown_briefly(item)
    return _clean(text if len(text) <= REPR_LIMIT else text[:REPR_LIMIT])


def _shown_briefly(item):
    try:
        return _brief.repr(item)
    except BaseException:
        return object.__repr__(item)


def _clean(text):
    """The text, with characters that UTF-8 cannot encode written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _said(*members):
    return f'{{"status":"completed",{",".join(members)},"exit_code":0,"error":null}}'.encode()


def completed(result):
    """The value as JSON, or its repr() where JSON cannot represent all of it."""
    try:
        text = value.json_of(result)
    except value.Unsayable as unsayable:
        return _said('"result":null', f'"result_repr":{_encode(_shown(result, unsayable.nested))}')
    return b'{"status":"completed","result":%b,"exit_code":0,"error":null}' % text


def returned(result):
    """The value of a script, whose caller gets JSON and nothing else."""
    try:
        text = value.json_of(result)
    except value.Unsayable as unsayable:
        return failed(1, "guest_error", unsayable.native, _clip(str(unsayable), MESSAGE_LIMIT), None)
    return b'{"status":"completed","result":%b,"exit_code":0,"error":null}' % text


def exited(code):
    if code == 0:
        return _said('"result":null')
    return failed(code, "exit", "SystemExit", f"the script exited with code {code}", None)


def failed(code, kind, name, message, text):
    error = {"kind": kind, "type": name, "message": message, "traceback": text}
    for member in ("message", "traceback", "type"):
        if error[member] is not None:
            error[member] = _clean(error[member])
    return f'{{"status":"failed","result":null,"exit_code":{code},"error":{_encode(error)}}}'.encode()


def _clip(text, limit):
    return text if len(text) <= limit else text[:limit] + "… (truncated)\n"


def _without_ours(report):
    """Removes the interpreter's frames below the script's, through all causes."""
    while report is not None:
        report.stack[:] = [frame for frame in report.stack if not frame.filename.startswith(lines.OURS)]
        report = report.__cause__ or report.__context__


def _users_frames(trace, file):
    """Skips the interpreter's own frames, which lie above the script's."""
    while trace is not None and trace.tb_frame.f_code.co_filename != file:
        trace = trace.tb_next
    return trace


def raised(error, source, file):
    """Reports an uncaught exception, on stderr as well, as Python itself does."""
    name = type(error).__qualname__
    try:
        lines.quotable(file, source)
        if isinstance(error, SyntaxError) and error.filename == file:
            # Late errors of the compiler quote the source from the disk, where there is no such
            # file.
            error.text = lines.line(file, error.lineno) or error.text
        report = _format(type(error), error, _users_frames(error.__traceback__, file), compact=True, limit=-100)
        _without_ours(report)
        text = "".join(report.format())
        message = str(error)
        hint = advice.on(error, message)
        if hint:
            text = f"{text.rstrip('\n')}\n{hint}\n"
            message = f"{message}: {hint}" if message else hint
    except BaseException:
        # There is not even the memory or stack to report the error.
        text = message = name
    text = _clip(text, TRACEBACK_LIMIT)
    try:
        sys.stdout.flush()
        sys.stderr.write(text if text.endswith("\n") else text + "\n")
    except BaseException:
        pass
    return failed(1, "guest_error", name, _clip(message, MESSAGE_LIMIT), text)
