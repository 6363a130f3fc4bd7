"""Clear errors for what a sandbox cannot do, and replacements for what it can do without the system.

There are no processes, no threads and no native packages: the message of the exception says so.
asyncio runs on an event loop that only waits for time, because there is nothing else to wait for.
"""

import asyncio
import errno
import os
import sys
import time
import zipfile

import advice
import workers

PACKAGES = "/packages"
_STDLIB_REASON = (
    "{name} is not available here: this part of the standard library needs the operating system "
    "(processes, threads, terminals or native libraries), which the sandbox does not have"
)
_REASON = (
    "{name} is not available here; available are the Python standard library and these pure-Python "
    "wheels of the operator: {offered}{broken}"
)
_WINDOWS = ("_winapi", "msvcrt", "nt", "winreg", "winsound")
_INSTALLERS = ("ensurepip", "micropip", "pip", "uv")
_CLIENTS = ("aiohttp", "httpx", "requests", "urllib3")
_INSTEAD = {
    "bz2": "zlib and gzip are available",
    "compression.zstd": "zlib and gzip are available",
    "ctypes": "only Python code can be loaded",
    "lzma": "zlib and gzip are available",
    "ssl": f"{advice.NO_NETWORK}; {advice.GIVE_DATA}",
    "tkinter": "there is no screen, but a file with a picture can be written",
    "turtle": "there is no screen, but a file with a picture can be written",
}
_NATIVE = (".so", ".pyd", ".dylib")
# The most wheels that an explanation names.
_BROKEN_MAX = 4


class MissingPackages:
    """The last finder on sys.meta_path: an import that nothing else found is explained."""

    def __init__(self, frame):
        self.offered = None
        self.wheels = []
        self._frame = frame

    def _list(self):
        if self.offered is None:
            try:
                self.offered = sorted(name.split("-")[0] for name in os.listdir(PACKAGES))
            except OSError:
                self.offered = []
        return ", ".join(self.offered) or "none"

    def _broken(self, name):
        """The searched wheels that cannot be read, or that have `name` only as native code."""
        reasons = []
        for wheel in self.wheels:
            try:
                with zipfile.ZipFile(f"{PACKAGES}/{wheel}") as archive:
                    files = archive.namelist()
            except (OSError, zipfile.BadZipFile) as error:
                reasons.append(f"; {wheel} cannot be read: {error}")
                continue
            native = (file for file in files if file.endswith(_NATIVE))
            if any(file.split("/")[0].split(".")[0] == name for file in native):
                reasons.append(f"; {wheel} has it as native code, which cannot be loaded here")
        return "".join(reasons[:_BROKEN_MAX])

    def find_spec(self, name, path=None, target=None):
        # importlib.util.find_spec asks whether a module exists and expects None if it does not.
        importing = self._frame(2).f_code.co_name == "_find_and_load_unlocked"
        if not importing or (path is not None and name not in _INSTEAD):
            return None
        if name in _INSTALLERS:
            reason = f"{name} is not available here: {advice.NO_INSTALL}: {self._list()}"
            raise ModuleNotFoundError(reason, name=name)
        if name in _WINDOWS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name in sys.stdlib_module_names:
            reason = _STDLIB_REASON.format(name=name)
            if name in _INSTEAD:
                reason = f"{reason}; {_INSTEAD[name]}"
            raise ModuleNotFoundError(reason, name=name)
        reason = _REASON.format(name=name, offered=self._list(), broken=self._broken(name))
        if name in _CLIENTS:
            reason = f"{reason}; {advice.NO_NETWORK}; {advice.GIVE_DATA}"
        raise ModuleNotFoundError(reason, name=name)


class _Idle:
    """The selector of a loop without files or sockets."""

    def select(self, timeout):
        if timeout is None:
            raise RuntimeError("the event loop waits for something that can never happen here")
        if timeout > 0:
            time.sleep(timeout)
        return []

    def close(self):
        pass


class TimerLoop(asyncio.BaseEventLoop):
    def __init__(self):
        super().__init__()
        self._selector = _Idle()

    def _process_events(self, events):
        pass

    def _write_to_self(self):
        pass

    async def _make_subprocess_transport(self, *args, **kwargs):
        workers.no_processes()

    def run_in_executor(self, executor, func, *args):
        # There are no threads: the work is done immediately, and the future is ready.
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class TimerLoopPolicy(asyncio.events._AbstractEventLoopPolicy):
    def __init__(self):
        self._loop = None

    def get_event_loop(self):
        if self._loop is None:
            raise RuntimeError("There is no current event loop")
        return self._loop

    def set_event_loop(self, loop):
        self._loop = loop

    def new_event_loop(self):
        return TimerLoop()


def _no_command(command, *args, **kwargs):
    words = command if isinstance(command, str) else " ".join(map(str, command))
    if " install " in f"{words} " and any(tool in words for tool in _INSTALLERS):
        raise OSError(errno.ENOTSUP, advice.NO_INSTALL)
    workers.no_processes()


def install():
    """Installs all of it; returns the finder, whose `offered` a run may set."""
    os.system = os.popen = _no_command
    import subprocess

    subprocess.Popen.__init__ = lambda self, args, *rest, **options: _no_command(args)
    subprocess.Popen.__del__ = lambda self, **options: None
    asyncio.events._set_event_loop_policy(TimerLoopPolicy())
    finder = MissingPackages(sys._getframe)
    sys.meta_path.append(finder)
    return finder
