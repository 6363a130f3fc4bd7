"""Imports the whole pure standard library while the interpreter module is built.

The snapshot then holds every module, so an import in a script is a dictionary look-up. Modules that
need what a sandbox lacks are left out (they fail to import here and are reported as missing when a
script imports them), and so are tests, graphical modules, and modules that act when imported.
"""

import importlib
import os
import pkgutil
import subprocess
import sys
import warnings

SKIPPED = {
    "__phello__", "_android_support", "_apple_support", "_ios_support", "_osx_support", "_pyrepl",
    "antigravity", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test", "this", "tkinter",
    "turtle", "turtledemo", "venv",
}


# What cannot be imported here.
BROKEN = set()


def _load(name):
    try:
        importlib.import_module(name)
    except BaseException:
        BROKEN.add(name)


def _walk(directory, prefix):
    for module in pkgutil.iter_modules([directory], prefix):
        parts = module.name.split(".")
        if parts[0] in SKIPPED or parts[-1] in ("__main__", "tests", "idle_test"):
            continue
        _load(module.name)
        if module.ispkg:
            _walk(os.path.join(directory, parts[-1]), module.name + ".")


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    for _name in sorted(sys.stdlib_module_names - SKIPPED):
        _load(_name)
    # Not os.__file__: os is frozen into the interpreter and names a directory that does not exist.
    ROOT = os.path.dirname(subprocess.__file__)
    _walk(ROOT, "")
