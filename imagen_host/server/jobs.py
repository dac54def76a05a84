"""What does the newer editor's job panel see and cancel (/jobs)? The queue and the history, in one list."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiohttp import web

from ._routes import answer, both, ids_of, read_object, refuse, whole_number
from .queue import Job
from .state import ServerState

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
ENDED = {"execution_success": "completed", "execution_error": "failed", "execution_interrupted": "cancelled"}


def waiting_job(job: Job, status: str) -> dict:
    """A job of the queue, as the list shows it."""
    created = job.extra_data["create_time"]
    return {"id": job.prompt_id, "status": status, "create_time": created, "priority": job.number, "outputs_count": 0}


def ended_job(entry: dict) -> dict:
    """An entry of the history as the list of jobs shows it."""
    number, prompt_id, _, extra, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    end = next((kind for kind in ENDED if kind in messages), "execution_error")
    shown = list(_shown(entry["outputs"]))
    job = {
        "id": prompt_id,
        "status": ENDED[end],
        "create_time": extra.get("create_time", 0),
        "priority": number,
        "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
        "execution_end_time": messages.get(end, {}).get("timestamp"),
        "outputs_count": len(shown),
    }
    if shown:  # what is kept is shown before what is only looked at
        job["preview_output"] = next((item for item in shown if item.get("type") == "output"), shown[0])
    if end == "execution_error":
        job["execution_error"] = messages.get(end)
    return job


def age(job: dict) -> tuple:
    """What jobs are sorted by: of the same millisecond, by number, and by id last, so that pages never overlap."""
    return job["create_time"], job["priority"], job["id"]


def _shown(outputs: dict) -> Iterator[dict]:
    """The files that nodes show."""
    for node, ui in outputs.items():
        for kind, items in ui.items():
            for item in items if isinstance(items, list) else ():
                if isinstance(item, dict) and "filename" in item:
                    yield {**item, "nodeId": node, "mediaType": kind}


def details(job: dict, item: list, entry: dict | None) -> dict:
    """One job with its outputs and the workflow that made it."""
    more = {"workflow": {"prompt": item[2], "extra_data": item[3]}}
    if entry is not None:
        more |= {"outputs": entry["outputs"], "execution_status": entry["status"], "execution_meta": entry["meta"]}
    return {**job, **more}


def add_routes(app: web.Application, state: ServerState) -> None:
    """Add /jobs, /jobs/{id}, /jobs/{id}/cancel and /jobs/cancel"""

    def queued() -> Iterator[tuple[dict, Job]]:
        running, waiting = state.queue.split()
        yield from ((waiting_job(job, "in_progress"), job) for job in running)
        yield from ((waiting_job(job, "pending"), job) for job in waiting)

    async def listed(request: web.Request) -> web.Response:
        wanted = [part for part in request.query.get("status", "").split(",") if part] or STATUSES
        if unknown := [part for part in wanted if part not in STATUSES]:
            raise refuse(f"no status is called {unknown[0]!r:.40}: use {', '.join(STATUSES)}")
        known = {job["id"]: job for job, _ in queued()}
        ended = (ended_job(entry) for entry in state.queue.history)
        known |= {job["id"]: job for job in ended if job["id"] not in known}  # one may end between the two readings
        jobs = [job for job in known.values() if job["status"] in wanted]
        jobs.sort(key=age, reverse=request.query.get("sort_order") != "asc")
        return answer(page(jobs, whole_number(request, "offset") or 0, whole_number(request, "limit")))

    def page(jobs: list[dict], offset: int, limit: int | None) -> dict:
        limit = len(jobs) if limit is None else limit
        part = jobs[offset : offset + limit]
        more = offset + len(part) < len(jobs)
        return {"jobs": part, "pagination": {"offset": offset, "limit": limit, "total": len(jobs), "has_more": more}}

    def find(prompt_id: str) -> dict[str, Any]:
        for about, job in queued():
            if job.prompt_id == prompt_id:
                return details(about, job.item(), None)
        entry = state.queue.history.get(prompt_id)
        if entry is None:
            raise refuse(f"no job is called {prompt_id!r:.80}", web.HTTPNotFound)
        return details(ended_job(entry), entry["prompt"], entry)

    async def one(request: web.Request) -> web.Response:
        return answer(find(request.match_info["prompt_id"]))

    async def cancel(request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        find(prompt_id)
        return answer({"cancelled": state.queue.cancel(prompt_id)})

    async def cancel_several(request: web.Request) -> web.Response:
        ids = ids_of(await read_object(request), "job_ids")
        return answer({"cancelled": [prompt_id for prompt_id in ids if state.queue.cancel(prompt_id)]})

    both(app.router, "GET", "/jobs", listed)
    both(app.router, "POST", "/jobs/cancel", cancel_several)
    both(app.router, "GET", "/jobs/{prompt_id}", one)
    both(app.router, "POST", "/jobs/{prompt_id}/cancel", cancel)
