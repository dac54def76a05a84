"""Does the newer editor's job panel see what waits, runs and ended, and can it cancel?"""

import itertools

from host_graphs import entry
from server_client import picture_prompt, running, sum_prompt

from imagen_host.server.jobs import age

GRAPH = {"id": "1-2", "nodes": []}
BROKEN = {"n": entry("Number", value=1), "b": entry("Broken", value=["n", 0]), "s": entry("Show", value=["b", 0])}


async def filled(site, ear):
    """One job of each kind: completed, failed, cancelled, in_progress, pending."""
    preview = {"look": entry("PreviewImage", images=["draw", 0])}
    names = {
        "done": await site.queue(picture_prompt(2) | preview, client_id="me"),
        "broken": await site.queue(BROKEN, client_id="me"),
        "stopped": await site.queue(picture_prompt(1000, 0.01), client_id="me"),
        "runs": await site.queue(picture_prompt(1000, 0.01, seed=1), client_id="me"),
        "waits": await site.queue(sum_prompt(), client_id="me", extra_data={"extra_pnginfo": {"workflow": GRAPH}}),
    }
    await ear.until("progress", prompt_id=names["stopped"])
    await site.post(f"/jobs/{names['stopped']}/cancel")
    await ear.until("progress", prompt_id=names["runs"])
    return names


async def test_jobs_of_every_status(server, caplog):
    async with running(server) as site, site.listen() as ear:
        names = await filled(site, ear)
        jobs = {job["id"]: job for job in (await site.get("/jobs"))["jobs"]}
        detail = {name: await site.get(f"/jobs/{prompt_id}") for name, prompt_id in names.items()}
        await site.post("/interrupt")
    status = {
        "done": "completed",
        "broken": "failed",
        "stopped": "cancelled",
        "runs": "in_progress",
        "waits": "pending",
    }
    assert {name: jobs[prompt_id]["status"] for name, prompt_id in names.items()} == status
    for job in jobs.values():
        assert isinstance(job["create_time"], int) and isinstance(job["priority"], (int, float))
    done = jobs[names["done"]]
    assert done["create_time"] <= done["execution_start_time"] <= done["execution_end_time"]
    assert done["outputs_count"] == done["previewable_outputs_count"] == 2
    image = {"filename": "test_00001_.png", "subfolder": "", "type": "output"}
    assert done["preview_output"] == {**image, "nodeId": "save", "mediaType": "images"}
    error = jobs[names["broken"]]["execution_error"]
    assert (error["node_id"], error["node_type"], error["exception_message"]) == ("b", "Broken", "the disk is on fire")
    assert detail["done"]["outputs"]["save"]["images"] == [image]
    assert detail["done"]["execution_status"]["status_str"] == "success"
    workflow = detail["waits"]["workflow"]
    assert workflow["prompt"] == sum_prompt() and workflow["extra_data"]["extra_pnginfo"] == {"workflow": GRAPH}
    assert jobs[names["waits"]]["workflow_id"] == "1-2" and "workflow_id" not in done


async def test_the_list_is_filtered_sorted_and_paged(server, caplog):
    async with running(server) as site, site.listen() as ear:
        names = await filled(site, ear)

        async def ids(query):
            return [job["id"] for job in (await site.get(f"/api/jobs?{query}"))["jobs"]]

        assert set(await ids("status=in_progress,pending&limit=200&offset=0")) == {names["runs"], names["waits"]}
        assert set(await ids("status=completed,failed,cancelled")) == {
            names[key] for key in ("done", "broken", "stopped")
        }
        newest_first = await ids("")
        assert newest_first == list(reversed(await ids("sort_order=asc")))
        answer = await site.get("/jobs?limit=2&offset=1")
        assert [job["id"] for job in answer["jobs"]] == newest_first[1:3]
        assert answer["pagination"] == {"offset": 1, "limit": 2, "total": 5, "has_more": True}
        assert (await site.get("/jobs?limit=2&offset=9"))["pagination"]["has_more"] is False
        assert await ids("workflow_id=1-2") == [names["waits"]]
        longest_first = await ids("sort_by=execution_duration")
        assert set(longest_first) == set(newest_first) and names["runs"] in longest_first[-2:]
        for wrong in ("status=lost", "limit=some", "offset=1.5", "sort_by=size", "sort_order=up"):
            assert "error" in await site.get(f"/jobs?{wrong}", 400)
        await site.post("/interrupt")


async def test_cancelling(server):
    async with running(server) as site, site.listen() as ear:
        runs, *waiting = [await site.queue(picture_prompt(1000, 0.01, seed), client_id="me") for seed in range(4)]
        await ear.until("progress", prompt_id=runs)
        assert await site.post(f"/jobs/{waiting[0]}/cancel") == {"cancelled": True}
        assert await site.post(f"/jobs/{waiting[0]}/cancel") == {"cancelled": False}
        assert "error" in await site.get(f"/jobs/{waiting[0]}", 404)
        everything = await site.post("/jobs/cancel", {"job_ids": [*waiting, runs, "unknown"]})
        assert everything == {"cancelled": True}
        assert await site.post("/jobs/cancel", {"job_ids": [*waiting, "unknown"]}) == {"cancelled": False}
        await ear.over(runs)
        assert await site.post(f"/jobs/{runs}/cancel") == {"cancelled": False}
        assert [job["status"] for job in (await site.get("/jobs"))["jobs"]] == ["cancelled"]


def test_jobs_of_the_same_millisecond_have_one_order():
    jobs = [{"create_time": 5, "priority": number, "id": name} for number, name in ((2, "b"), (1, "c"), (2, "a"))]
    orders = {tuple(job["id"] for job in sorted(given, key=age)) for given in itertools.permutations(jobs)}
    assert orders == {("c", "a", "b")}
