"""Runs source text: its statements and the expression at its end, with `await` at the top level."""

import asyncio
import inspect

import lines
import results
import source

_exec, _eval = exec, eval
_asyncio_run = asyncio.run
_iscoroutine = inspect.iscoroutine
_IS_COROUTINE = inspect.CO_COROUTINE
_MISSING = object()


async def _awaiting(codes, names):
    """Runs code that awaits at its top level, all of it in one event loop."""
    value = _MISSING
    for code in codes:
        if code is not None:
            value = _eval(code, names)
            if code.co_flags & _IS_COROUTINE or _iscoroutine(value):
                value = await value
    return _MISSING if codes[1] is None else value


def _perform(codes, names):
    """Runs statements and the last expression; returns the value of the expression."""
    statements, expression = codes
    for code in codes:
        if code is not None and code.co_flags & _IS_COROUTINE:
            return _asyncio_run(_awaiting(codes, names))
    if statements is not None:
        _exec(statements, names)
    return _MISSING if expression is None else _eval(expression, names)


def execute(text, names, script, given):
    if script:
        names["input"] = given
    lines.quotable(lines.MAIN, text)
    value = _perform(source.compiled(text, lines.MAIN), names)
    if script and callable(names.get("run")):
        value = names["run"](given)
    if value is _MISSING:
        value = names.get("result")
    return _asyncio_run(value) if _iscoroutine(value) else value


def execute_more(text, names, file):
    """Runs code of a session, whose `result` counts only if this call assigned it."""
    names["__file__"] = file
    codes = source.compiled(text, file)
    watch = results.Watch(names, codes)
    try:
        value = _perform(codes, names)
    finally:
        assigned = watch.value()
    if value is _MISSING:
        value = assigned
    return _asyncio_run(value) if _iscoroutine(value) else value
