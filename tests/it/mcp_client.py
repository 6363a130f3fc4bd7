"""Drives a host's /mcp with the protocol's official client, and prints the results as JSON.

    mcp_client.py URL SCRATCH MODE

SCRATCH is the host's directory of running attempts, which shows whether a guest still exists.
MODE is the client's: `legacy` has sessions, `auto` finds out what the host speaks.
"""

import itertools
import json
import os
import sys
import time
import urllib.request

import anyio
from mcp import Client, MCPError

WAIT_S = 60


def running(scratch):
    """Whether a guest has a directory; it gets one with its first file."""
    attempts = [os.path.join(scratch, name) for name in os.listdir(scratch)]
    homes = [path for path in attempts if os.path.isdir(os.path.join(path, "given"))]
    attempts = [path for path in attempts if path not in homes]
    for home in homes:
        runs = os.path.join(home, "runs")
        attempts += [os.path.join(runs, name) for name in os.listdir(runs)]
    return any(os.listdir(path) for path in attempts if os.path.isdir(path))


async def until(what, condition):
    """Waits until `condition` holds, and returns the seconds it took."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > WAIT_S:
            raise TimeoutError(what)
        await anyio.sleep(0.01)
    return time.monotonic() - begin


def plain(result):
    """A result as the protocol's JSON."""
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def every_tool(client):
    """The tools of all pages, and how many pages there were."""
    tools, cursor, pages = {}, None, 0
    while True:
        page = await client.list_tools(cursor=cursor)
        tools.update({tool.name: plain(tool) for tool in page.tools})
        cursor, pages = page.next_cursor, pages + 1
        if cursor is None:
            return tools, pages


async def cancelled(client, scratch, tool, arguments):
    """Begins a call that does not end by itself, cancels it, and waits for its guest's end."""
    async with anyio.create_task_group() as group:
        group.start_soon(client.call_tool, tool, arguments)
        await until("the guest begins", lambda: running(scratch))
        group.cancel_scope.cancel()
    return await until("the guest ends", lambda: not running(scratch))


def put(url, name):
    """Puts a module under a name, as somebody else may at any time."""
    headers = {"content-type": "text/x-python"}
    address = url.removesuffix("mcp") + "v1/modules/" + name
    request = urllib.request.Request(address, b"def run(input):\n    return 1\n", headers, method="PUT")
    urllib.request.urlopen(request).close()


async def change_heard(client, url, heard):
    """What a client hears of a module that comes."""
    if client.session.protocol_version >= "2026-07-28":
        async with client.listen(tools_list_changed=True) as subscription:
            put(url, "new")
            with anyio.fail_after(WAIT_S):
                return type(await anext(subscription)).__name__
    # Its stream may not be open yet.
    with anyio.fail_after(WAIT_S):
        for n in itertools.count():
            put(url, f"new{n}")
            await anyio.sleep(0.5)
            if heard:
                return heard[0]


async def error_of(call):
    """The error of a call."""
    try:
        return plain(await call)
    except MCPError as error:
        return {"code": error.code, "message": error.message}


async def main(url, scratch, mode):
    seen = {}
    progress = []

    async def hear(fraction, total, message):
        progress.append([fraction, total, message])

    heard = []

    async def hear_change(message):
        heard.append(type(message).__name__)

    client = Client(url, mode=mode, read_timeout_seconds=WAIT_S, message_handler=hear_change)
    async with client:
        seen["protocol"] = client.session.protocol_version
        seen["tools"], seen["pages"] = await every_tool(client)
        code = "import sys\nopen('a.txt', 'w').write('left')\nprint('out')\n{'sum': sum(range(10))}"
        seen["result"] = plain(await client.call_tool("run_python", {"code": code}))
        code = "def f():\n    return 1 / 0\nf()"
        seen["exception"] = plain(await client.call_tool("run_python", {"code": code}))
        code = "print('x' * 700_000)\n'y' * 700_000"
        seen["long"] = plain(await client.call_tool("run_python", {"code": code}))
        code = "console.log(6 * 7); [1, 2]"
        seen["javascript"] = plain(await client.call_tool("run_javascript", {"code": code}))
        wide = {"from": 1, "to": 3_000_000}
        seen["module"] = plain(
            await client.call_tool("mathSprimes", wide, progress_callback=hear)
        )
        seen["progress"] = progress
        seen["script"] = plain(await client.call_tool("length", {"input": [1, 2, 3]}))
        seen["misfit"] = plain(await client.call_tool("mathSprimes", {"from": 1}))
        seen["failed"] = plain(await client.call_tool("mathSprimes", {"from": 2, "to": 1}))
        seen["unknown"] = await error_of(client.call_tool("nothing", {}))
        code = "open('begun', 'w').close()\nwhile True: pass"
        loop = {"code": code, "timeout_ms": 120000, "cpu_ms": 120000}
        seen["cancelled_s"] = await cancelled(client, scratch, "run_python", loop)
        # The same connection and session go on.
        seen["after"] = plain(await client.call_tool("run_python", {"code": "1 + 1"}))
        heard.clear()
        seen["changed"] = await change_heard(client, url, heard)
    print(json.dumps(seen))


anyio.run(main, *sys.argv[1:])
