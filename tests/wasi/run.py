"""Runs the public tests of WASI 0.1 against `cofferdam run`: run.py PROGRAM CHECKOUT

The tests' own runner needs a newer Python than some machines have, and does more than is needed
here. What a test expects is described in its JSON file, see doc/specification.md of the checkout.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

# Each test is compiled first, in a process of its own.
SECONDS_MAX = 60


def passes(program, test):
    """None if the test passes, else what went wrong."""
    spec_path = test.with_suffix(".json")
    spec = json.loads(spec_path.read_text()) if spec_path.exists() else {}
    unknown = spec.keys() - {"args", "env", "root", "exit_code", "stdout", "stderr"}
    if unknown:
        return f"this runner does not know {', '.join(sorted(unknown))}"
    with tempfile.TemporaryDirectory() as folder:
        command = [program, "run"]
        for name, value in spec.get("env", {}).items():
            command += ["--env", f"{name}={value}"]
        if "root" in spec:
            # A copy, because tests write to it.
            root = pathlib.Path(folder, "root")
            shutil.copytree(test.parent / spec["root"], root, symlinks=True)
            command += ["--dir", f"{root}::/"]
        command += [str(test), *spec.get("args", [])]
        try:
            run = subprocess.run(command, capture_output=True, timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"it did not end within {SECONDS_MAX} s"
    expected = spec.get("exit_code", 0)
    if run.returncode != expected:
        return f"exit code {run.returncode} instead of {expected}: {run.stderr.decode()}"
    for stream in ("stdout", "stderr"):
        written = getattr(run, stream).decode()
        if stream in spec and written != spec[stream]:
            return f"{stream} is {written!r} instead of {spec[stream]!r}"
    return None


def main():
    program, checkout = sys.argv[1:]
    tests = sorted(pathlib.Path(checkout).glob("tests/*/testsuite/wasm32-wasip1/*.wasm"))
    if not tests:
        sys.exit(f"{checkout} has no compiled tests; its branch prod/testsuite-base has them")
    failed = 0
    for test in tests:
        why = passes(program, test)
        if why is not None:
            failed += 1
            print(f"{test.relative_to(checkout)}: {why}")
    print(f"{len(tests) - failed} of {len(tests)} public tests of WASI 0.1 passed.")
    sys.exit(1 if failed else 0)


main()
