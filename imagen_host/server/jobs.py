"""What does the newer editor's job panel see and cancel (/jobs)? The queue and the history, in one list."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from aiohttp import web

from ..jobs.entries import Entry, Job
from ..jobs.queue import PromptQueue
from ..json_text import as_text
from ._routes import answer, answer_text, both, ids_of, read_object, refuse, whole_number
from .state import state_of

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")


def age(job: dict) -> tuple:
    """What jobs are sorted by: of the same millisecond, by number, and by id last, so that pages never overlap."""
    return job["create_time"], job["priority"], job["id"]


def duration(job: dict) -> tuple:
    start, end = job.get("execution_start_time"), job.get("execution_end_time")
    return end - start if start and end else 0, *age(job)


SORTED_BY = {"created_at": age, "execution_duration": duration}
ORDERS = ("asc", "desc")


def details(job: Job, status: str) -> dict:
    """A job that waits or runs, with its workflow."""
    return {**job.shown(status), "workflow": {"prompt": job.prompt, "extra_data": job.extra_data}}


def ended_details(entry: Entry) -> dict:
    """A job that ended, with its outputs and the workflow that made it."""
    data = entry.data()
    more = {"outputs": data["outputs"], "execution_status": data["status"], "execution_meta": data["meta"]}
    return {**entry.job, "workflow": {"prompt": data["prompt"][2], "extra_data": data["prompt"][3]}, **more}


def all_jobs(queue: PromptQueue) -> list[dict]:
    """Every job once; one that ends between the two readings is still shown as it was."""
    running, waiting = queue.split()
    queued = [job.shown("in_progress") for job in running] + [job.shown("pending") for job in waiting]
    known = {job["id"] for job in queued}
    return [*queued, *(entry.job for name, entry in queue.history.current().items() if name not in known)]


def found(queue: PromptQueue, prompt_id: str) -> bytes | None:
    """The JSON of one job; None when there is no such job."""
    job, status = queue.find(prompt_id)
    if job is not None:
        return as_text(details(job, status)).encode()
    entry = queue.history.get(prompt_id)
    return None if entry is None else as_text(ended_details(entry)).encode()


async def listed(request: web.Request) -> web.Response:
    wanted = _statuses(request)
    by = SORTED_BY[_chosen(request, "sort_by", SORTED_BY, "created_at")]
    newest_first = _chosen(request, "sort_order", ORDERS, "desc") == "desc"
    offset, limit = whole_number(request, "offset") or 0, whole_number(request, "limit")
    workflow, queue = request.query.get("workflow_id"), state_of(request).queue

    def chosen() -> list[dict]:
        jobs = (job for job in all_jobs(queue) if job["status"] in wanted)
        return sorted(
            (job for job in jobs if workflow in ("", None, job.get("workflow_id"))), key=by, reverse=newest_first
        )

    return answer(page(await asyncio.to_thread(chosen), offset, limit))


async def one(request: web.Request) -> web.Response:
    prompt_id = request.match_info["prompt_id"]
    text = await asyncio.to_thread(found, state_of(request).queue, prompt_id)
    if text is None:
        raise refuse(f"no job is called {prompt_id!r:.80}", web.HTTPNotFound)
    return answer_text(text)


async def cancel(request: web.Request) -> web.Response:
    """Also of a job that has ended or never was: then nothing happens."""
    return answer({"cancelled": bool(state_of(request).queue.cancel([request.match_info["prompt_id"]]))})


async def cancel_several(request: web.Request) -> web.Response:
    ids = ids_of(await read_object(request), "job_ids")
    return answer({"cancelled": bool(state_of(request).queue.cancel(ids))})


def page(jobs: list[dict], offset: int, limit: int | None) -> dict:
    """Some of the jobs, and where they are among all."""
    limit = len(jobs) if limit is None else limit
    part = jobs[offset : offset + limit]
    more = offset + len(part) < len(jobs)
    return {"jobs": part, "pagination": {"offset": offset, "limit": limit, "total": len(jobs), "has_more": more}}


def _statuses(request: web.Request) -> Collection[str]:
    """The query parameter `status`, separated by commas; all where there is none. Answers 400."""
    parts = [part.strip().lower() for part in request.query.get("status", "").split(",")]
    wanted = [part for part in parts if part] or STATUSES
    if unknown := [part for part in wanted if part not in STATUSES]:
        raise refuse(f"no status is called {unknown[0]!r:.40}: use {', '.join(STATUSES)}")
    return wanted


def _chosen(request: web.Request, name: str, known: Collection[str], default: str) -> str:
    """The query parameter `name`, which must be one of `known`. Answers 400."""
    value = request.query.get(name, default).lower()
    if value not in known:
        raise refuse(f"{name} is {value!r:.40}: use {' or '.join(known)}")
    return value


ROUTES = [
    *both("GET", "/jobs", listed),
    *both("POST", "/jobs/cancel", cancel_several),
    *both("GET", "/jobs/{prompt_id}", one),
    *both("POST", "/jobs/{prompt_id}/cancel", cancel),
]
