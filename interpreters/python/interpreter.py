"""The Python interpreter: a module of the world `cofferdam:task/task` around CPython.

It is ordinary guest code and has no privilege. Everything above `Handler` runs once, while the
module is built, and is part of the snapshot; a run only compiles and executes the user's source.
"""

import preload  # First: what it imports is what scripts find.

import ast
import atexit
import base64
import builtins
import gc
import io
import json
import os
import random
import site
import sys
import types

import answer
import open_files
import platform_limits
import snapshot
import wit_world.exports
from componentize_py_types import Err
from wit_world.exports.handler import Descriptor, Failure_InvalidInput, Payload

WORK = "/work"
DECLARATIONS = ("INPUT_SCHEMA", "OUTPUT_SCHEMA")
OWN_MODULES = ("answer", "immortal", "open_files", "platform_limits", "preload", "snapshot")

# Python code calling Python code takes no stack of the guest's, so the usual limit holds. Calls
# through C (repr, json, sort keys) are bounded by CPython's own check of the stack.
RECURSION_LIMIT = 1000

# Fewer new containers than this are never worth a collection: the first one of a run marks every
# module of the snapshot, which costs several times what a short script does.
COLLECT_AFTER = 50_000

# CPython specialises code after a few runs; some of it only after several more.
REHEARSALS = 32

# Given back when memory has run out, so that there is some to say so with.
BALLAST_BYTES = 256 * 1024

_finder = platform_limits.install()
open_files.install()
_loads = json.loads
_parse = ast.parse
_Expr, _Module, _Expression = ast.Expr, ast.Module, ast.Expression
_compile, _exec, _eval, _open = compile, exec, eval, open
_reseed = random.seed
_atexit_before = atexit._ncallbacks()
_asyncio_run = sys.modules["asyncio"].run
_iscoroutine = sys.modules["inspect"].iscoroutine
_MISSING = object()


def _prepare_snapshot():
    site.setquit()
    site.sethelper()
    sys.setrecursionlimit(RECURSION_LIMIT)
    sys.stdout.reconfigure(line_buffering=True, write_through=False, errors="backslashreplace", newline="\n")
    sys.stderr.reconfigure(line_buffering=True, write_through=True, newline="\n")
    sys.path[:] = [WORK]
    sys.dont_write_bytecode = True
    sys.executable = ""
    for name in OWN_MODULES:
        sys.modules.pop(name, None)
    # The components of the standard library are found in sys.modules; nothing is read from disk.
    sys.path_importer_cache.clear()
    gc.set_threshold(COLLECT_AFTER)
    gc.collect()
    snapshot.settle()
    # Behind all others, because one of them could not be given back.
    Handler.ballast = bytearray(BALLAST_BYTES)


def _begin(request):
    """Makes fresh what must not come from the snapshot, once in the life of an instance."""
    _reseed()
    open_files.begin()
    sys.modules.pop(__name__, None)
    try:
        os.chdir(WORK)
    except OSError:
        pass  # A run without files has no working directory.
    if request.get("offered") is not None:
        _finder.offered = list(request["offered"])
    if request.get("packages"):
        _finder.wheels = list(request["packages"])
        sys.path.extend(f"{platform_limits.PACKAGES}/{name}" for name in request["packages"])
    main = types.ModuleType("__main__")
    main.__dict__.update(__builtins__=builtins, __file__=answer.MAIN)
    sys.modules["__main__"] = main
    return main.__dict__


def _surround(request):
    """What each call has of its own."""
    sys.argv = [answer.MAIN, *request.get("args", ())]
    stdin = request.get("stdin", "").encode("utf-8", "surrogatepass")
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")


def _compiled(source, file):
    """The script without its last statement if that is an expression, and that expression."""
    tree = _parse(source, file)
    last = tree.body[-1] if tree.body else None
    if not isinstance(last, _Expr):
        return _compile(tree, file, "exec"), None
    value = _compile(_Expression(last.value), file, "eval")
    del tree.body[-1]
    return (_compile(tree, file, "exec") if tree.body else None), value


def _declared(source):
    """What a script says of itself in its docstring and its constants; nothing of it is run."""
    tree = _parse(source, answer.MAIN)
    _compile(tree, answer.MAIN, "exec")
    said = {"summary": ast.get_docstring(tree)}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            if name in DECLARATIONS:
                said[name.lower()] = ast.literal_eval(statement.value)
    return said


def _execute(source, names, script, given):
    if script:
        names["input"] = given
    statements, expression = _compiled(source, answer.MAIN)
    if statements is not None:
        _exec(statements, names)
    value = _MISSING if expression is None else _eval(expression, names)
    if script and callable(names.get("run")):
        value = names["run"](given)
    if value is _MISSING:
        value = names.get("result")
    return _asyncio_run(value) if _iscoroutine(value) else value


def _execute_more(source, names, file):
    """Code of a session, whose `result` counts only where this call names it."""
    statements, expression = _compiled(source, file)
    if statements is not None:
        _exec(statements, names)
    if expression is not None:
        value = _eval(expression, names)
    else:
        value = names.get("result") if statements and "result" in statements.co_names else None
    return _asyncio_run(value) if _iscoroutine(value) else value


def _put(files):
    """Writes the files that a call of a session brings; the sandbox's quota is the guest's."""
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
        return code & 0xFF
    print(code, file=sys.stderr)
    return 1


def _finish(names):
    """What the end of a process does: exit handlers, and files left open are written out."""
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
        return Descriptor(summary="Runs Python source in CPython", input_schema=INPUT_SCHEMA, output_schema=None)

    def run(self, input):
        try:
            request = _loads(input.body)
            source = request["code"]
        except (ValueError, KeyError, TypeError) as error:
            raise Err(Failure_InvalidInput(f"not a request of the interpreter: {error!r}")) from None
        mode = request.get("mode")
        if mode == "session":
            text = self._more(source, request)
            _flush()
        else:
            names = _begin(request)
            _surround(request)
            text = self._outcome(source, answer.MAIN, lambda: self._once(source, names, mode, request))
            _finish(names)
        return Payload("application/json", text.encode("utf-8", "replace"))

    def _once(self, source, names, mode, request):
        if mode == "check":
            return _declared(source)
        return _execute(source, names, mode == "script", request.get("input"))

    def _more(self, source, request):
        """One call of a session."""
        if Handler.names is None:
            Handler.names = _begin(request)
        Handler.calls += 1
        file = answer.MAIN if Handler.calls == 1 else f"main-{Handler.calls}.py"
        answer.remember(file, source)
        _surround(request)

        def work():
            if Handler.ballast is None:
                Handler.ballast = bytearray(BALLAST_BYTES)
            _put(request.get("files", {}))
            return _execute_more(source, Handler.names, file)

        return self._outcome(source, file, work)

    def _outcome(self, source, file, work):
        try:
            return answer.completed(work())
        except SystemExit as stop:
            return answer.exited(_exit_code(stop.code))
        except MemoryError as error:
            Handler.ballast = None
            return answer.raised(error, source, file)
        except BaseException as error:
            return answer.raised(error, source, file)


def _rehearse():
    """Runs what scripts usually do, so that the snapshot's code has specialised itself and its
    caches are full: whatever a run does not learn anew it does not write to its pages."""
    surroundings = sys.argv, sys.stdin, sys.stdout, sys.stderr, sys.modules["__main__"], sys.modules[__name__]
    sys.stdout = io.TextIOWrapper(io.BytesIO(), write_through=True)
    sys.stderr = io.TextIOWrapper(io.BytesIO(), write_through=True)
    for _ in range(REHEARSALS):
        for code in snapshot.SCRIPTS:
            Handler().run(Payload("application/json", json.dumps({"code": code, "offered": []}).encode()))
    sys.argv, sys.stdin, sys.stdout, sys.stderr, sys.modules["__main__"], sys.modules[__name__] = surroundings


with open(os.path.join(os.path.dirname(__file__), "input.schema.json")) as _file:
    INPUT_SCHEMA = _file.read()
_rehearse()
_prepare_snapshot()
