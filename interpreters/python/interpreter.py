"""The Python interpreter: a module of the world `cofferdam:python/interpreter` around CPython.

It is ordinary guest code and has no privilege. Everything above `Handler` runs once, while the
module is built, and is part of the snapshot; a run only compiles and executes the user's source.
"""

import preload  # First: scripts find the modules that it imports.

import atexit
import base64
import builtins
import gc
import io
import json
import os
import posix
import random
import site
import sys
import types

import answer
import clock
import execution
import hashes
import library
import lines
import network
import open_files
import paths
import platform_limits
import snapshot
import source
import workers
import wit_world.exports
import zones
from componentize_py_types import Err
from wit_world.exports.handler import Descriptor, Failure_InvalidInput, Payload
from wit_world.imports import exit as process

WORK = "/work"
OWN_MODULES = (
    "advice", "answer", "clock", "execution", "hashes", "immortal", "library", "lines", "http_socket",
    "network", "requests_out", "secure", "open_files", "paths", "platform_limits", "preload", "results", "snapshot", "source", "value", "workers",
    "zones",
)

VERSION = ".".join(map(str, sys.version_info[:3]))

# Python code that calls Python code takes no guest stack, so the usual limit applies. Calls
# through C (repr, json, sort keys) are bounded by CPython's own check of the stack.
RECURSION_LIMIT = 1000

# Fewer new containers than this are never worth a collection: the first one of a run marks every
# module of the snapshot, which costs several times what a short script does.
COLLECT_AFTER = 50_000

# CPython specialises code after a few runs; some of it only after several more.
REHEARSALS = 32

# Freed when memory has run out, so that there is some for reporting the error.
BALLAST_BYTES = 256 * 1024

library.install(preload.ROOT, preload.BROKEN)
_finder = platform_limits.install()
zones.install()
hashes.install()
clock.install()
network.install()
workers.install()
_chdir = os.chdir
paths.install()
lines.install()
open_files.install()
_loads = json.loads
_open = open
_reseed = random.seed
_atexit_before = atexit._ncallbacks()


def _stdin(raw):
    """Standard input as Python makes it on Linux: lines end as they came."""
    return io.TextIOWrapper(io.BufferedReader(raw), "utf-8", "surrogateescape", "\n")


def _leave(status):
    """Ends the process at once, with its exit code."""
    process.exit_with_code(status & 0xFF)


def _prepare_snapshot():
    site.setquit()
    site.sethelper()
    sys.setrecursionlimit(RECURSION_LIMIT)
    sys.stdin = sys.__stdin__ = _new_stdin()
    sys.stdout = sys.__stdout__ = _output(1, "<stdout>")
    sys.stderr = sys.__stderr__ = _output(2, "<stderr>")
    sys.path[:] = [WORK]
    sys.dont_write_bytecode = True
    sys.executable = ""
    os._exit = posix._exit = _leave
    for name in OWN_MODULES:
        sys.modules.pop(name, None)
    lines.forget()
    # The components of the standard library are found in sys.modules; nothing is read from disk.
    sys.path_importer_cache.clear()
    gc.set_threshold(COLLECT_AFTER)
    gc.collect()
    snapshot.settle()
    # It is allocated last, because memory between other objects could not be given back.
    Handler.ballast = bytearray(BALLAST_BYTES)


def _new_stdin():
    raw = io.FileIO(0, "r", closefd=False)
    raw.name = "<stdin>"
    return _stdin(raw)


def _output(descriptor, name):
    """An output stream. Its buffer continues after the host has taken part of a write; the bare
    descriptor that Python would use here leaves that to its caller."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    raw.name = name
    return io.TextIOWrapper(io.BufferedWriter(raw), "utf-8", "backslashreplace", "\n", True)


def _begin(request):
    """Renews the state that must not come from the snapshot, once in the life of an instance."""
    _reseed()
    open_files.begin()
    clock.forget()
    sys.modules.pop(__name__, None)
    try:
        _chdir(WORK)
    except OSError:
        pass  # A run without files has no working directory.
    if request.get("offered") is not None:
        _finder.offered = list(request["offered"])
    if request.get("network"):
        network.open_to_requests()
    if request.get("packages"):
        _finder.wheels = list(request["packages"])
        sys.path.extend(f"{platform_limits.PACKAGES}/{name}" for name in request["packages"])
    os.environ["HOME"] = WORK
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=lines.MAIN)
    sys.modules["__main__"] = main
    return main.__dict__


def _put(files):
    """Writes the files of a session's call; they count against the sandbox's quota."""
    for name, content in files.items():
        data = base64.b64decode(content["base64"]) if isinstance(content, dict) else content.encode("utf-8", "surrogatepass")
        *parents, name = name.split("/")
        folder = WORK
        for parent in parents:
            folder = f"{folder}/{parent}"
            try:
                os.mkdir(folder)
            except FileExistsError:
                pass
        with _open(f"{folder}/{name}", "wb") as file:
            file.write(data)


def _exit_code(code):
    if code is None:
        return 0
    if isinstance(code, int):
        # A number that does not fit a C long becomes -1.
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    print(code, file=sys.stderr)
    return 1


def _finish(names):
    """Does what the end of a process does: runs exit handlers and flushes files left open."""
    if atexit._ncallbacks() > _atexit_before:
        atexit._run_exitfuncs()
    names.clear()
    _flush()


def _flush():
    for stream in (*open_files.left(), sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


class Handler(wit_world.exports.Handler):
    ballast = None
    # A session's variables and the number of its calls.
    names = None
    calls = 0

    def describe(self):
        return Descriptor(summary=f"CPython {VERSION}", input_schema=INPUT_SCHEMA, output_schema=None)

    def run(self, input):
        try:
            request = _loads(input.body)
            text = source.bare(request["code"])
        except (ValueError, KeyError, TypeError) as error:
            raise Err(Failure_InvalidInput(f"not a request of the interpreter: {error!r}")) from None
        mode = request.get("mode")
        if mode == "session":
            body = self._more(text, request)
            _flush()
            clock.pause()
        else:
            names = _begin(request)
            sys.argv = [lines.MAIN, *request.get("args", ())]
            # The caller of a script gets JSON and nothing else.
            said = answer.completed if mode is None else answer.returned
            body = self._outcome(text, lines.MAIN, said, lambda: self._once(text, names, mode, request))
            _finish(names)
        return Payload("application/json", body)

    def _once(self, text, names, mode, request):
        if mode == "check":
            return source.declared(text, lines.MAIN)
        return execution.execute(text, names, mode == "script", request.get("input"))

    def _more(self, text, request):
        """One call of a session."""
        if Handler.names is None:
            Handler.names = _begin(request)
        else:
            clock.resume()
        Handler.calls += 1
        file = lines.MAIN if Handler.calls == 1 else f"main-{Handler.calls}.py"
        lines.remember(file, text)
        sys.argv = [lines.MAIN, *request.get("args", ())]
        sys.stdin = _new_stdin()

        def work():
            if Handler.ballast is None:
                Handler.ballast = bytearray(BALLAST_BYTES)
            _put(request.get("files", {}))
            return execution.execute_more(text, Handler.names, file)

        return self._outcome(text, file, answer.completed, work)

    def _outcome(self, text, file, said, work):
        try:
            return said(work())
        except SystemExit as stop:
            return answer.exited(_exit_code(stop.code))
        except MemoryError as error:
            Handler.ballast = None
            return answer.raised(error, text, file)
        except BaseException as error:
            return answer.raised(error, text, file)


def _rehearse():
    """Runs typical scripts, so that the snapshot's code is already specialised and its caches
    are full: a run then writes to fewer pages."""
    surroundings = sys.argv, sys.stdin, sys.stdout, sys.stderr, sys.modules["__main__"], sys.modules[__name__]
    sys.stdout = io.TextIOWrapper(io.BytesIO(), write_through=True)
    sys.stderr = io.TextIOWrapper(io.BytesIO(), write_through=True)
    for _ in range(REHEARSALS):
        for code in snapshot.SCRIPTS:
            sys.stdin = _stdin(io.BytesIO())
            Handler().run(Payload("application/json", json.dumps({"code": code, "offered": []}).encode()))
    sys.argv, sys.stdin, sys.stdout, sys.stderr, sys.modules["__main__"], sys.modules[__name__] = surroundings


with open(os.path.join(os.path.dirname(__file__), "input.schema.json")) as _file:
    INPUT_SCHEMA = _file.read()
_rehearse()
_prepare_snapshot()
