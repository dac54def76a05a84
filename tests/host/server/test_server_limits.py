"""Is what one request may hold bounded, so that nobody else waits for it and no answer is many times the question?"""

import asyncio
import json
import tracemalloc

import pytest
from host_graphs import entry
from server_client import picture_prompt, running, sum_prompt

from imagen_host.jobs import queue
from imagen_host.server import _routes, forms, node_errors

PART = b'--x\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n'
FORM = {"Content-Type": "multipart/form-data; boundary=x"}


async def posted(site, path, body, status, **headers):
    async with site.http.post(path, data=body, headers=headers) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (status, "application/json"), text[:300]
        return json.loads(text)


async def test_a_form_of_many_parts_is_refused_at_once(server):
    async with running(server) as site:
        many = b"".join(PART % (b"a%d" % number, b"") for number in range(16_000)) + b"--x--\r\n"
        assert "parts" in (await posted(site, "/upload/image", many, 413, **FORM))["error"]
        few = b"".join(PART % (b"a%d" % number, b"") for number in range(forms.MOST_PARTS)) + b"--x--\r\n"
        assert "no part 'image'" in (await posted(site, "/upload/image", few, 400, **FORM))["error"]


@pytest.mark.parametrize("part", [PART % (b"a", b"y" * 4000), PART % (b"a", b""), b"preamble\r\n" * 400,
                                  b"--x\r\n" + b"A: b\r\n" * 120 + b"\r\n\r\n",
                                  b'--x\r\nContent-Disposition: form-data\r\n\r\n' + b"z" * 4000 + b"\r\n"])  # fmt: skip
async def test_a_form_that_never_ends_is_refused_whatever_it_is_made_of(server, part):
    """The limit is the request's: 1 GB in small parts, in lines before the first, in headers or in parts without a name."""
    sent = 0

    async def endless():
        nonlocal sent
        for _ in range(10**9 // len(part)):
            sent += len(part)
            yield part

    async with running(server, max_upload_size=100_000) as site:
        assert "error" in await posted(site, "/upload/image", endless(), 413, **FORM)
        assert sent < 20 * 2**20
        assert await site.get("/users")


async def test_too_many_values_are_refused_before_they_are_parsed(server, monkeypatch):
    monkeypatch.setattr(_routes, "MOST_VALUES", 1000)
    async with running(server) as site:
        for path in ("/prompt", "/settings", "/settings/a", "/queue", "/history", "/jobs/cancel"):
            tracemalloc.start()
            answer = await posted(site, path, b'{"a": [' + b"[]," * 10**6 + b"[]]}", 413)
            assert tracemalloc.get_traced_memory()[1] < 40 * 10**6, "it was parsed"
            tracemalloc.stop()
            assert "more than 1,000 values" in json.dumps(answer)
        for path in ("/settings/a", "/queue"):
            body = b'{"a": [' + b"1," * 900 + b"1]}"
            async with site.http.post(path, data=body) as answer:
                assert answer.status == 200


async def test_large_settings_are_refused_and_what_is_there_is_kept(server):
    async with running(server) as site:
        await site.post("/settings", {"a": 1})
        await posted(site, "/settings/b", json.dumps("x" * 5 * 2**20), 413)
        for number in range(3):
            async with site.http.post(f"/settings/c{number}", data=json.dumps("x" * 2 * 2**20)) as answer:
                assert answer.status == (200 if number == 0 else 413)
        assert (await site.get("/settings"))["a"] == 1


def wrong_prompt(count):
    """A chain of nodes that fail, of which each is needed by as many outputs; 60 bytes a node."""
    chain = {f"b{n}": entry("Add", a=[f"b{n - 1}", 0] if n else "x" * 3000) for n in range(count)}
    return chain | {f"s{n}": entry("Show", value=[f"b{count - 1}", 0]) for n in range(count)}


async def test_the_answer_to_a_wrong_prompt_is_bounded(server):
    async with running(server) as site:
        prompt = wrong_prompt(300)
        answer = await posted(site, "/prompt", json.dumps({"prompt": prompt}), 400)
        assert len(json.dumps(answer)) < 200_000
        assert len(answer["node_errors"]) == node_errors.MOST_NODES
        assert answer["error"]["details"] == "the first 100 of 300 nodes with errors are shown"
        for about in answer["node_errors"].values():
            assert 1 <= len(about["dependent_outputs"]) <= node_errors.MOST_OUTPUTS and about["errors"]
        (first,) = [item for item in answer["node_errors"]["b0"]["errors"] if item["type"] == "invalid_input_type"]
        assert first["extra_info"]["input_name"] == "a" and len(json.dumps(first)) < 5000
        prompt["good"] = entry("Show", value=1)  # taken, with the errors of all else
        answer = await posted(site, "/prompt", json.dumps({"prompt": prompt | sum_prompt()}), 200)
        assert len(answer["node_errors"]) == node_errors.MOST_NODES


async def test_a_short_list_of_errors_is_told_whole(server):
    async with running(server) as site:
        answer = await posted(site, "/prompt", json.dumps({"prompt": wrong_prompt(2)}), 400)
    assert set(answer["node_errors"]) == {"b0", "b1"} and "nodes with errors" not in answer["error"]["details"]
    assert answer["node_errors"]["b1"]["dependent_outputs"] == ["s0", "s1"]


@pytest.mark.parametrize("name", ["x" * 400_000, "\u202e" * 100_000, "n\n" * 100_000])
async def test_names_are_not_sent_back_whole(server, name):
    async with running(server) as site:
        for prompt in ({"a": entry(name)}, {name: entry("Show")}, {"a": entry("Show", value=[name, 0])}, {name: 5}):
            answer = await posted(site, "/prompt", json.dumps({"prompt": prompt}), 400)
            assert len(json.dumps(answer)) < 20_000


async def test_jobs_are_found_and_taken_back_without_walking_through_all(server, monkeypatch):
    """Of 400 jobs: taking them back one by one sorts the heap a few times in all, and not once a job."""
    sorts = []
    monkeypatch.setattr(queue, "sorted", lambda items: sorts.append(1) or sorted(items), raising=False)
    async with running(server) as site, site.listen() as ear:
        await site.queue(picture_prompt(1000, 0.01), client_id="me", prompt_id="runs")
        await ear.until("progress")
        ids = [f"{number}" for number in range(400)]
        for name in ids:
            await site.queue(sum_prompt(), prompt_id=name)
        assert sorts == []
        assert [item[1] for item in (await site.get("/queue"))["queue_pending"]] == ids
        sorts.clear()
        for name in ids[:200]:
            await site.post("/queue", {"delete": [name]})
        assert (await site.get("/jobs/399"))["status"] == "pending"
        assert await site.post("/jobs/cancel", {"job_ids": [*ids, "unknown", *ids]}) == {"cancelled": True}
        assert len(sorts) < 10
        assert (await site.get("/queue"))["queue_pending"] == [] and site.state.queue.bytes == 0
        assert await site.post("/jobs/cancel", {"job_ids": ["runs", "x"]}) == {"cancelled": True}
        await ear.over("runs")


async def test_others_are_answered_while_large_json_is_read(server):
    """Many more answers come meanwhile than a loop that waits for the parser could give."""
    body = b'{"prompt": {}, "extra_data": {"x": [' + b'{"a":1},' * 200_000 + b"1]}}"
    async with running(server) as site:
        for path in ("/prompt", "/queue"):
            task, count = asyncio.create_task(site.http.post(path, data=body)), 0
            while not task.done():
                await site.get("/users")
                count += 1
            assert task.result().status in (200, 400) and count > 10, count
            task.result().release()
