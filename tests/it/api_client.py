"""Uses the client that openapi-python-client generates from /openapi.json, as an application would.

    api_client.py URL MODULE_FILE

Prints the results as one JSON object.
"""

import io
import json
import sys
import uuid

from cofferdam_client import Client
from cofferdam_client.api.modules import get_module, get_module_bytes, list_modules, put_module
from cofferdam_client.api.run_now import run_module
from cofferdam_client.api.tasks import cancel_task, get_task, get_task_result, list_tasks, submit_task
from cofferdam_client.models import TaskRequest
from cofferdam_client.types import File


def main() -> None:
    url, file = sys.argv[1:]
    client = Client(base_url=url)
    with open(file, "rb") as module:
        wasm = module.read()
    seen = {}

    put = put_module.sync_detailed("math/primes", client=client, body=File(io.BytesIO(wasm)))
    seen["put"] = [put.status_code, put.parsed.name, put.parsed.kind]
    seen["modules"] = [module.name for module in list_modules.sync(client=client).items]
    seen["digest_is_the_same"] = get_module.sync("math/primes", client=client).digest == put.parsed.digest
    fetched = get_module_bytes.sync("math/primes", client=client)
    seen["bytes_are_the_same"] = fetched.payload.read() == wasm

    question = json.dumps({"from": 1, "to": 100}).encode()
    body = File(io.BytesIO(question), mime_type="application/json")
    ran = run_module.sync("math/primes", client=client, body=body)
    seen["run"] = json.loads(ran.payload.read())["count"]

    request = TaskRequest.from_dict({"module": "math/primes", "input": {"from": 1, "to": 100}})
    task = submit_task.sync(client=client, body=request, wait_ms=60_000)
    seen["task"] = [task.status, get_task.sync(task.task_id, client=client).status]
    result = get_task_result.sync(task.task_id, client=client)
    seen["result"] = json.loads(result.payload.read())["count"]

    later = TaskRequest.from_dict({"module": "math/primes", "input": {"from": 1, "to": 9}, "delay_ms": 60_000})
    waiting = submit_task.sync(client=client, body=later)
    seen["cancelled"] = cancel_task.sync(waiting.task_id, client=client).status
    seen["listed"] = len(list_tasks.sync(client=client).items)

    missing = get_task.sync_detailed(str(uuid.uuid4()), client=client)
    seen["missing"] = [missing.status_code, missing.parsed.code]
    print(json.dumps(seen))


main()
