"""How the public WASI test suite starts `cofferdam run`; its own doc/adapters.md says what it asks for.

The program's path is in COFFERDAM, where `cargo xtask wasi-suite` puts it.
"""

import os
import subprocess

PROGRAM = os.environ["COFFERDAM"]


def get_name():
    return "cofferdam"


def get_version():
    asked = subprocess.run([PROGRAM, "--version"], encoding="UTF-8", capture_output=True, check=True)
    return asked.stdout.split()[-1]


def get_wasi_versions():
    return ["wasm32-wasip1"]


def get_wasi_worlds():
    return ["wasi:cli/command"]


def get_timeout_seconds():
    # Each test is compiled first, in a process of its own, perhaps on a busy machine.
    return 60


def compute_argv(test_path, args_env_root, proposals, wasi_world, wasi_version):
    args, env, root = args_env_root
    argv = [PROGRAM, "run"]
    for name, value in env.items():
        argv += ["--env", f"{name}={value}"]
    if root:
        argv += ["--dir", f"{root}::/"]
    return argv + [test_path] + args
