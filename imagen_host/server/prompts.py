"""How does a prompt get into the queue, and how is the queue seen and changed (/prompt, /queue, /interrupt, /free)?"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from typing import Any

from aiohttp import web

from ..jobs.entries import Job
from ..jobs.queue import PromptQueue, QueueFull
from ..validation import finite, problem, validate
from ._routes import TooMany, answer, answer_text, both, ids_of, parse_body, read_object
from .clients import LONGEST_ID
from .node_errors import bounded
from .state import ServerState, state_of

NEVER_KEPT = ("auth_token_comfy_org", "api_key_comfy_org")  # secrets that the editor sends along

MOST_NODES = 20_000  # what a graph costs grows with its size alone, but somebody has to wait for it


class Refused(Exception):
    """A prompt that is not taken: the HTTP status and the body that says why."""

    def __init__(self, error: dict, node_errors: dict | None = None, status: int = 400) -> None:
        error, shown = bounded(error, node_errors or {})
        self.status, self.body = status, {"error": error, "node_errors": shown}


def read_request(body: bytes) -> dict:
    """The fields of a request to queue a prompt, each of its type. Raises Refused."""
    try:
        data = parse_body(body)
    except TooMany as error:
        raise Refused(problem("request_too_large", "the request is too large", str(error)), status=413) from None
    except ValueError as error:
        raise Refused(problem("invalid_prompt", "the request is not JSON", str(error))) from None
    if not isinstance(data, dict):
        raise Refused(problem("no_prompt", "there is no prompt", "expected a JSON object with the key 'prompt'"))
    if "prompt" not in data:
        raise Refused(problem("no_prompt", "there is no prompt", "the request's body has no key 'prompt'"))
    for key, (accepts, expected) in FIELDS.items():
        if data.get(key) is None:
            data.pop(key, None)
        elif not accepts(data[key]):
            raise Refused(problem("invalid_request", f"{key} should be {expected}", f"{data[key]!r:.80}"))
    return data


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_ID


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _is_list_of_ids(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


FIELDS = {
    "client_id": (_is_id, f"text of at most {LONGEST_ID} characters"),
    "prompt_id": (lambda value: _is_id(value) and value, f"text of 1 to {LONGEST_ID} characters"),
    "extra_data": (lambda value: isinstance(value, dict), "an object"),
    "number": (_is_finite_number, "a finite number"),
    "front": (lambda value: isinstance(value, bool), "true or false"),
    "partial_execution_targets": (_is_list_of_ids, "a list of node ids"),
}


def job_of(body: bytes, number: int, state: ServerState) -> tuple[Job, dict]:
    """A checked job and the errors of nodes that it leaves out. Raises Refused. Slow: not for the event loop."""
    data = read_request(body)
    prompt = data["prompt"]
    if isinstance(prompt, dict) and len(prompt) > MOST_NODES:
        raise Refused(
            problem("invalid_prompt", "the prompt is too large", f"{len(prompt)} nodes, at most {MOST_NODES}")
        )
    checked = validate(prompt, state.registry, data.get("partial_execution_targets"))
    if checked.error is not None:
        raise Refused(checked.error, checked.node_errors)
    if not finite(data):
        raise Refused(problem("invalid_prompt", "the request holds a number that is not finite", "JSON has none"))
    extra = {key: value for key, value in data.get("extra_data", {}).items() if key not in NEVER_KEPT}
    sid = data.get("client_id", extra.pop("client_id", None))
    extra |= {"client_id": sid} if _is_id(sid) else {}
    job = Job(
        number=data.get("number", -number if data.get("front") else number),
        prompt_id=data.get("prompt_id") or str(uuid.uuid4()),
        prompt=prompt,
        outputs=checked.outputs,
        extra_data={**extra, "create_time": int(time.time() * 1000)},
        size=len(body),
    )
    job.text  # noqa: B018  made here, in the checker's thread
    return job, bounded(None, checked.node_errors)[1]


def shown(queue: PromptQueue) -> bytes:
    """The JSON of what runs and what waits."""
    running, waiting = (b", ".join(job.text for job in jobs) for jobs in queue.split())
    return b'{"queue_running": [' + running + b'], "queue_pending": [' + waiting + b"]}"


async def put(request: web.Request) -> web.Response:
    state = state_of(request)
    try:
        body, number = await request.read(), next(state.numbers)
        check = asyncio.get_running_loop().run_in_executor(state.checker, job_of, body, number, state)
        job, node_errors = await check
        state.queue.put(job)
    except Refused as refused:
        return answer(refused.body, status=refused.status)
    except QueueFull:
        error = problem("queue_full", "too many prompts wait", "wait until some have run, or clear the queue")
        return answer(Refused(error).body, status=429)
    except ValueError as error:
        return answer(Refused(problem("invalid_request", str(error))).body, status=400)
    except web.HTTPRequestEntityTooLarge as error:
        too_large = problem("request_too_large", "the request is too large", error.text or "")
        return answer(Refused(too_large).body, status=413)
    return answer({"prompt_id": job.prompt_id, "number": job.number, "node_errors": node_errors})


async def remaining(request: web.Request) -> web.Response:
    return answer(state_of(request).queue.status()["status"])


async def show(request: web.Request) -> web.Response:
    return answer_text(await asyncio.to_thread(shown, state_of(request).queue))


async def change(request: web.Request) -> web.Response:
    body, queue = await read_object(request), state_of(request).queue
    if body.get("clear"):
        queue.remove()
    elif ids := ids_of(body, "delete"):
        queue.remove(ids)
    return web.Response()


async def interrupt(request: web.Request) -> web.Response:
    state_of(request).queue.interrupt((await read_object(request)).get("prompt_id"))
    return web.Response()


async def free(request: web.Request) -> web.Response:
    body = await read_object(request)
    if body.get("unload_models") or body.get("free_memory"):
        state_of(request).queue.forget()
    return web.Response()


ROUTES = [
    *both("GET", "/prompt", remaining),
    *both("POST", "/prompt", put),
    *both("GET", "/queue", show),
    *both("POST", "/queue", change),
    *both("POST", "/interrupt", interrupt),
    *both("POST", "/free", free),
]
