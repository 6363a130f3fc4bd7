"""DBOS beside our workflows: durable code, whose steps are gathered level by level.

usage: python dbos_peer.py URL PARENTS SECONDS CLIENTS LONE, as clients.mjs beside this file says
prints {workflows, seconds, lone_ms: [...]}
"""

import asyncio
import json
import os
import sys
import time
from urllib.parse import unquote, urlsplit

from dbos import DBOS, DBOSConfig

url, parents, seconds, clients, lone = sys.argv[1], json.loads(sys.argv[2]), *map(int, sys.argv[3:6])

place = urlsplit(url)
socket = unquote(place.hostname or "") if place.hostname else unquote(place.netloc.rpartition("@")[2])
database_url = f"postgresql+psycopg://{place.username}@/{place.path.lstrip('/')}?host={socket}"

levels = []
level_of = {}
for node, of in enumerate(parents):
    level = max((level_of[parent] + 1 for parent in of), default=0)
    level_of[node] = level
    while len(levels) <= level:
        levels.append([])
    levels[level].append(node)

DBOS(
    config=DBOSConfig(
        name="bench",
        system_database_url=database_url,
        run_admin_server=False,
        log_level="ERROR",
        sys_db_pool_size=20,
    )
)


@DBOS.step()
async def node_ends(node: int) -> dict:
    return {"v": node}


@DBOS.workflow()
async def workflow(levels: list) -> int:
    for level in levels:
        if len(level) == 1:
            await node_ends(level[0])
        else:
            await asyncio.gather(*[node_ends(node) for node in level])
    return len(levels)


async def submit() -> None:
    handle = await DBOS.start_workflow_async(workflow, levels)
    await handle.get_result()


async def main() -> None:
    DBOS.launch()
    lone_ms = []
    for _ in range(lone):
        begun = time.perf_counter()
        await submit()
        lone_ms.append((time.perf_counter() - begun) * 1000)
    done = 0
    begun = time.perf_counter()

    async def client() -> None:
        nonlocal done
        while time.perf_counter() - begun < seconds:
            await submit()
            done += 1

    await asyncio.gather(*[client() for _ in range(clients)])
    took = time.perf_counter() - begun
    print(json.dumps({"workflows": done, "seconds": took, "lone_ms": lone_ms}), flush=True)
    os._exit(0)


asyncio.run(main())
