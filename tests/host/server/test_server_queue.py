"""Do prompts run in their order, and can those that wait or run be stopped?"""

import asyncio

from host_graphs import entry
from server_client import picture_prompt, running, sum_prompt

from imagen_host.jobs import queue


async def status_of(site, prompt_id):
    return (await site.get(f"/jobs/{prompt_id}"))["status"]


async def test_queue_three_and_cancel_one(server):
    async with running(server) as site, site.listen() as ear:
        first, second, third = [await site.queue(picture_prompt(30, 0.01, seed), client_id="me") for seed in range(3)]
        await ear.until("progress", prompt_id=first)
        listed = await site.get("/queue")
        assert [item[1] for item in listed["queue_running"]] == [first]
        assert [item[1] for item in listed["queue_pending"]] == [second, third]
        await site.post("/queue", {"delete": [second, "unknown"]})
        await ear.over(third)
        assert list(await site.get("/history")) == [first, third]
    begun = [data["prompt_id"] for data in ear.of("execution_start")]
    assert begun == [first, third]
    assert ear.of("status")[-1]["status"]["exec_info"]["queue_remaining"] == 0


async def test_an_item_is_what_the_editor_lists(server):
    extra = {"extra_pnginfo": {"workflow": {"nodes": []}}}
    async with running(server) as site:
        prompt_id = await site.queue(picture_prompt(100, 0.01), client_id="me", extra_data=extra)
        while not (running_now := (await site.get("/queue"))["queue_running"]):
            await asyncio.sleep(0.005)
        await site.post("/interrupt")
    number, found, prompt, extra_data, outputs = running_now[0]
    assert (number, found, outputs) == (1, prompt_id, ["save"])
    assert prompt == picture_prompt(100, 0.01)
    assert extra_data == {**extra, "client_id": "me", "create_time": extra_data["create_time"]}


async def test_a_lower_number_and_the_front_go_first(server):
    async with running(server) as site, site.listen() as ear:
        await site.queue(picture_prompt(30, 0.01), client_id="me", prompt_id="now")
        await ear.until("progress")
        await site.queue(sum_prompt(1), client_id="me", prompt_id="fourth")
        await site.queue(sum_prompt(2), client_id="me", prompt_id="third", number=1.5)
        await site.queue(sum_prompt(3), client_id="me", prompt_id="second", front=True)
        await site.queue(sum_prompt(4), client_id="me", prompt_id="first", front=True)
        listed = (await site.get("/queue"))["queue_pending"]
        await ear.over("fourth")
    order = ["first", "second", "third", "fourth"]
    assert [item[1] for item in listed] == order
    assert [data["prompt_id"] for data in ear.of("execution_start")] == ["now", *order]


async def test_clearing_the_queue_leaves_what_runs(server):
    async with running(server) as site, site.listen() as ear:
        first = await site.queue(picture_prompt(20, 0.01), client_id="me")
        await ear.until("progress")
        for _ in range(3):
            await site.queue(sum_prompt())
        await site.post("/queue", {"clear": True})
        await ear.over(first)
        assert list(await site.get("/history")) == [first]


async def test_interrupt_in_the_middle_of_a_node(server):
    async with running(server) as site, site.listen() as ear, site.listen("other") as other:
        first = await site.queue(picture_prompt(1000, 0.01), client_id="me")
        second = await site.queue(sum_prompt(), client_id="me")
        await ear.until("progress", value=3)
        await site.post("/interrupt")
        stopped = await ear.until("execution_interrupted")
        await ear.over(second)
        await other.until("execution_interrupted")  # told to everybody
        history = await site.get("/history")
    assert (stopped["node_id"], stopped["node_type"], stopped["executed"]) == ("draw", "Picture", [])
    assert history[first]["status"]["status_str"] == "error" and not history[first]["status"]["completed"]
    assert history[second]["status"]["status_str"] == "success"
    assert len(ear.of("progress")) < 20 and not server["host"].output_directory.exists()


async def test_interrupting_a_prompt_by_its_id_spares_another(server):
    async with running(server) as site, site.listen() as ear:
        first = await site.queue(picture_prompt(30, 0.01), client_id="me")
        second = await site.queue(picture_prompt(30, 0.01, seed=1), client_id="me")
        await ear.until("progress", prompt_id=first)
        await site.post("/interrupt", {"prompt_id": second})
        await site.post("/interrupt", {"prompt_id": "unknown"})
        await ear.over(first)
        await ear.until("progress", prompt_id=second)
        await site.post("/interrupt", {"prompt_id": second})
        await ear.over(second)
        assert [await status_of(site, item) for item in (first, second)] == ["completed", "cancelled"]


async def test_an_interrupt_with_nothing_to_stop_does_not_stop_the_next(server):
    async with running(server) as site:
        await site.post("/interrupt")
        await site.post("/interrupt", "")
        assert (await site.ended(await site.queue(sum_prompt())))["status"]["completed"]


async def test_wrong_requests_are_refused(server):
    async with running(server) as site:
        for path in ("/queue", "/history", "/interrupt", "/free", "/jobs/cancel"):
            for body in ("{", "[]", "7", "[" * 50_000, '{"delete": NaN}'):
                assert "error" in await site.post(path, body, 400)
        for body in ({"delete": "abc"}, {"delete": [1]}, {"delete": {}}):
            assert "error" in await site.post("/queue", body, 400)
            assert "error" in await site.post("/history", body, 400)
        assert "error" in await site.post("/jobs/cancel", {"job_ids": "abc"}, 400)
        assert (await site.ended(await site.queue(sum_prompt())))["status"]["completed"]


async def test_free_lets_go_of_results(server, flow):
    async with running(server) as site:
        await site.ended(await site.queue(sum_prompt()))
        await site.post("/free", {})
        await site.ended(await site.queue(sum_prompt()))
        assert len(flow.CALLS) == 3  # nothing was let go of
        await site.post("/free", {"unload_models": True, "free_memory": True})
        await site.ended(await site.queue(sum_prompt()))
        assert len(flow.CALLS) == 6


async def test_a_full_queue_refuses_more_until_some_ran(server, monkeypatch):
    monkeypatch.setattr(queue, "MOST_WAITING", 2)
    async with running(server) as site, site.listen() as ear:
        await site.queue(picture_prompt(50, 0.01), client_id="me")
        await ear.until("progress")
        ids = [await site.queue(sum_prompt()) for _ in range(2)]
        answer = await site.post("/prompt", {"prompt": sum_prompt()}, 429)
        assert answer["error"]["type"] == "queue_full"
        for prompt_id in ids:
            await site.ended(prompt_id)
        await site.queue(sum_prompt())


async def test_a_node_that_ends_its_thread_does_not_end_the_queue(server, caplog):
    async with running(server) as site, site.listen() as ear:
        prompt = {"n": entry("Leave", value=1), "show": entry("Show", value=["n", 0])}
        await ear.over(await site.queue(prompt, client_id="me"))
        await ear.over(await site.queue(sum_prompt(), client_id="me"))
        assert ear.of("executed")[0]["output"] == {"values": [5]}
    assert "could not be run" in caplog.text


async def test_the_loop_answers_while_a_node_computes(server):
    async with running(server) as site, site.listen() as ear:
        await site.queue(picture_prompt(1000, 0.01), client_id="me")
        await ear.until("progress")
        for _ in range(50):
            await site.get("/queue")
        await site.post("/interrupt")
        await ear.until("execution_interrupted")


async def test_closing_interrupts_what_runs(server):
    async with running(server) as site, site.listen() as ear:
        prompt_id = await site.queue(picture_prompt(1000, 0.1), client_id="me")
        await ear.until("progress")
        state = site.state
    assert not state.queue.worker.is_alive()
    async with running(server) as site:
        assert await status_of(site, prompt_id) == "cancelled"
