"""What does the newer editor's job panel see and cancel (/jobs)? The queue and the history, in one list."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from aiohttp import web

from ._routes import answer, both, ids_of, read_object, refuse, whole_number
from .queue import Job
from .state import ServerState

STATUSES = ("pending", "in_progress", "completed", "failed", "cancelled")
PREVIEWED = ("images", "video", "audio", "3d", "text")
ENDED = {"execution_success": "completed", "execution_error": "failed", "execution_interrupted": "cancelled"}


def queued_job(job: Job, status: str) -> dict:
    """A job of the queue, as the list shows it."""
    return {"id": job.prompt_id, "status": status, "outputs_count": 0, **_origin(job.number, job.extra_data)}


def _origin(number: float, extra: dict) -> dict:
    """Where a job comes from: `workflow_id` is the id that the editor gave the graph."""
    about = {"create_time": extra.get("create_time", 0), "priority": number, "previewable_outputs_count": 0}
    graph = extra.get("extra_pnginfo")
    graph = graph.get("workflow") if isinstance(graph, dict) else None
    workflow_id = graph.get("id") if isinstance(graph, dict) else None
    return about | ({"workflow_id": workflow_id} if isinstance(workflow_id, str) else {})


def ended_job(entry: dict) -> dict:
    """An entry of the history as the list of jobs shows it."""
    number, prompt_id, _, extra, _ = entry["prompt"]
    messages = dict(entry["status"]["messages"])
    end = next((kind for kind in ENDED if kind in messages), "execution_error")
    shown = list(_shown(entry["outputs"]))
    job = {
        "id": prompt_id,
        "status": ENDED[end],
        **_origin(number, extra),
        "execution_start_time": messages.get("execution_start", {}).get("timestamp"),
        "execution_end_time": messages.get(end, {}).get("timestamp"),
        "outputs_count": len(shown),
        "previewable_outputs_count": sum(item["mediaType"] in PREVIEWED for item in shown),
    }
    if shown:  # what is kept is shown before what is only looked at
        job["preview_output"] = next((item for item in shown if item.get("type") == "output"), shown[0])
    if end == "execution_error":
        job["execution_error"] = messages.get(end)
    return job


def age(job: dict) -> tuple:
    """What jobs are sorted by: of the same millisecond, by number, and by id last, so that pages never overlap."""
    return job["create_time"], job["priority"], job["id"]


def duration(job: dict) -> tuple:
    start, end = job.get("execution_start_time"), job.get("execution_end_time")
    return end - start if start and end else 0, *age(job)


SORTED_BY = {"created_at": age, "execution_duration": duration}
ORDERS = ("asc", "desc")


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
        yield from ((queued_job(job, "in_progress"), job) for job in running)
        yield from ((queued_job(job, "pending"), job) for job in waiting)

    def chosen(request: web.Request, name: str, known: Collection[str], default: str) -> str:
        value = request.query.get(name, default).lower()
        if value not in known:
            raise refuse(f"{name} is {value!r:.40}: use {' or '.join(known)}")
        return value

    async def listed(request: web.Request) -> web.Response:
        wanted = [
            part.strip().lower() for part in request.query.get("status", "").split(",") if part.strip()
        ] or STATUSES
        if unknown := [part for part in wanted if part not in STATUSES]:
            raise refuse(f"no status is called {unknown[0]!r:.40}: use {', '.join(STATUSES)}")
        by = SORTED_BY[chosen(request, "sort_by", SORTED_BY, "created_at")]
        newest_first = chosen(request, "sort_order", ORDERS, "desc") == "desc"
        known = {job["id"]: job for job, _ in queued()}
        ended = (ended_job(entry) for entry in state.queue.history)
        known |= {job["id"]: job for job in ended if job["id"] not in known}  # one may end between the two readings
        workflow = request.query.get("workflow_id")
        jobs = [job for job in known.values() if job["status"] in wanted]
        jobs = [job for job in jobs if not workflow or job.get("workflow_id") == workflow]
        jobs.sort(key=by, reverse=newest_first)
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
        """Also of a job that has ended or never was: then nothing happens."""
        return answer({"cancelled": state.queue.cancel(request.match_info["prompt_id"])})

    async def cancel_several(request: web.Request) -> web.Response:
        ids = ids_of(await read_object(request), "job_ids")
        return answer({"cancelled": any([state.queue.cancel(prompt_id) for prompt_id in ids])})

    both(app.router, "GET", "/jobs", listed)
    both(app.router, "POST", "/jobs/cancel", cancel_several)
    both(app.router, "GET", "/jobs/{prompt_id}", one)
    both(app.router, "POST", "/jobs/{prompt_id}/cancel", cancel)
