"""The source of the standard library, in memory, because a run has no disk with it.

With it a module can be reloaded, a module outside the snapshot can be imported, and tracebacks
and `inspect` quote the library as they do elsewhere.
"""

import importlib.util
import os
import sys
import zlib
from importlib.machinery import SourceFileLoader

# No screens, no installers, no tests.
LEFT_OUT = {
    "__pycache__", "config-3.14-wasm32-wasi", "ensurepip", "idlelib", "lib2to3", "site-packages",
    "test", "tests", "tkinter", "turtle.py", "turtledemo", "_android_support.py",
    "_apple_support.py", "_ios_support.py", "_osx_support.py",
}

_packed = {}
_read = SourceFileLoader.get_data
_decompress = zlib.decompress


def _get_data(self, path):
    packed = _packed.get(path)
    return _read(self, path) if packed is None else _decompress(packed)


class Library:
    """A finder on sys.meta_path, behind the one that looks at disks."""

    def __init__(self, root, broken):
        self._root = root
        self._broken = broken

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self._broken or name in self._broken:
            return None
        place = f"{self._root}/{name.replace('.', '/')}"
        if f"{place}/__init__.py" in _packed:
            return importlib.util.spec_from_file_location(
                name, f"{place}/__init__.py", submodule_search_locations=[place]
            )
        if f"{place}.py" in _packed:
            return importlib.util.spec_from_file_location(name, f"{place}.py")
        return None


def install(root, broken):
    """Keeps all sources below `root`. `broken` are the modules that cannot be imported here."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in files:
            if name.endswith(".py") and name not in LEFT_OUT:
                path = f"{folder}/{name}"
                with open(path, "rb") as file:
                    # A form feed does not end a line, except for code that uses splitlines.
                    _packed[path] = zlib.compress(file.read().replace(b"\f", b""), 9)
    SourceFileLoader.get_data = _get_data
    sys.meta_path.append(Library(root, broken))
