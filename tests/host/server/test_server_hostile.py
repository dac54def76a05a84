"""Does the server stand what no editor sends: damaged bodies, wrong methods, odd ids, requests that never end?"""

import asyncio
import copy
import json
import random
import zlib
from urllib.parse import quote

from host_graphs import entry
from server_client import picture_prompt, running, sum_prompt

JUNK = [
    None, True, -1, 0, 1.5, 2**63, -(10**30), 10**400, 1e308, float("nan"), float("inf"), "", "5", "\0", "../x", "\ud800",
    "́" * 50, "%s%n", "x" * 3000, [], [[]], ["n"], ["n", 0], ["n", 0.0], ["n", True], ["n", -1], ["n", "0"], [None, 0],
    ["add", 0], [0, 0], {}, {"__value__": 1}, {"__value__": {"__value__": []}}, {"a": {"b": [{}]}}, [1] * 500,
]  # fmt: skip
PATHS = [
    "/prompt", "/queue", "/history", "/history/x", "/interrupt", "/free", "/jobs", "/jobs/x", "/jobs/x/cancel",
    "/jobs/cancel", "/ws", "/jobs/%00", "/history/%ff", "/jobs/..%2f..", "/jobs?limit=9999999999999999999999&offset=-9",
    "/jobs?status=,,,", "/jobs?limit=0", "/jobs?limit=%F0%9F%98%80", "/history?max_items=0", "/history?offset=1e5",
    "/history?max_items=%D9%A3", "/queue?x=%zz",
]  # fmt: skip


def places(value, path=()):
    """The path of everything inside a JSON value."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def damaged(body, chance):
    """A copy of `body` with one or two parts replaced by junk, or left out."""
    body = copy.deepcopy(body)
    for _ in range(chance.choice((1, 1, 2))):
        *way, last = chance.choice([path for path in places(body) if path])
        target = body
        for key in way:
            target = target[key]
        if chance.random() < 0.2 and isinstance(target, dict):
            del target[last]
        else:
            target[last] = chance.choice(JUNK)
    return body


async def alive(site):
    """Everything that is listed is still JSON that a browser reads, and a prompt still runs."""
    for path in ("/queue", "/history", "/jobs", "/prompt"):
        async with site.http.get(path) as answer:
            json.loads(await answer.text(), parse_constant=refuse)
    while (await site.get("/prompt"))["exec_info"]["queue_remaining"]:
        await asyncio.sleep(0.01)
    assert (await site.ended(await site.queue(sum_prompt(4, 5), prompt_id="alive")))["outputs"]["show"] == {
        "values": [9]
    }


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


async def test_damaged_prompts_get_an_answer_and_the_server_lives(server, caplog):
    chance = random.Random(0)
    prompt = picture_prompt(1) | sum_prompt() | {"c": entry("Choice", kind="red"), "s": entry("Show", value=["c", 0])}
    whole = {
        "prompt": prompt, "client_id": "me", "prompt_id": "a", "front": False, "number": 3, "other": [1],
        "extra_data": {"extra_pnginfo": {"workflow": {"nodes": [{"id": 1}]}}, "client_id": "you", "create_time": 5},
        "partial_execution_targets": ["show", "s"],
    }  # fmt: skip
    statuses = []
    async with running(server) as site, site.listen("me"):
        for number in range(600):
            body = damaged(whole | {"prompt_id": f"p{number}"}, chance)
            async with site.http.post("/prompt", data=json.dumps(body)) as answer:
                statuses.append(answer.status)
                text = await answer.text()
            assert answer.status in (200, 400, 429), (answer.status, body, text)
            assert ("prompt_id" if answer.status == 200 else "error") in json.loads(text, parse_constant=refuse), body
        await alive(site)
    assert 100 < statuses.count(200) < 500, "the damage is too small or too large to show anything"
    assert "could not be run" not in caplog.text and "Error handling request" not in caplog.text, caplog.text[-3000:]


async def test_every_route_answers_any_method_and_any_body(server, caplog):
    chance = random.Random(1)
    bodies = [
        b"",
        b"\xff\xfe",
        b"{",
        b"null",
        b'{"delete":[null]}',
        b'{"clear":"no"}',
        b"[" * 9999,
        b'{"job_ids":[[]]}',
    ]
    bodies += [json.dumps({"prompt_id": junk, "delete": junk, "job_ids": junk}).encode() for junk in JUNK]
    async with running(server) as site:
        for path in PATHS:
            for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
                body = chance.choice(bodies)
                headers = {
                    "Content-Type": chance.choice(["application/json", "text/plain; charset=nonsense", "\u00e9"])
                }
                async with site.http.request(method, path, data=body, headers=headers) as answer:
                    assert answer.status < 500, (method, path, body, answer.status)
        for body in bodies:
            for path in ("/queue", "/history", "/interrupt", "/free", "/jobs/cancel"):
                async with site.http.post(path, data=body) as answer:
                    assert answer.status in (200, 400), (path, body, answer.status)
        await alive(site)
    assert "Error handling request" not in caplog.text, caplog.text[-3000:]


async def test_ids_in_the_path_are_taken_as_text(server):
    odd = "a/../b?c#d%2F é\u202e"
    async with running(server) as site:
        await site.queue(sum_prompt(), prompt_id=odd)
        while (await site.get("/jobs/" + quote(odd, safe="")))["status"] != "completed":
            await asyncio.sleep(0.01)
        assert list(await site.get("/history/" + quote(odd, safe=""))) == [odd]


async def test_half_a_request_and_what_is_no_http_hold_nobody_up(server):
    async with running(server) as site:
        port = site.http.server.port
        writers = []
        for start in (
            b"POST /pro",
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1",
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"\r\n" * 999,
        ):
            writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
            writers[-1].write(start)
        head = f"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 1000000\r\n\r\n".encode()
        for _ in range(30):
            writers.append((await asyncio.open_connection("127.0.0.1", port))[1])
            writers[-1].write(head + b'{"prompt": ')
        await alive(site)
        for writer in writers:
            writer.close()


async def test_a_body_larger_than_it_says_or_compressed_is_bounded(server):
    bomb = zlib.compress(b" " * 50_000_000)
    async with running(server, max_body_size=100_000) as site:
        headers = {"Content-Encoding": "deflate"}
        async with site.http.post("/prompt", data=bomb, headers=headers) as answer:
            assert answer.status in (400, 413)

        async def endless():
            for _ in range(1000):
                yield b" " * 10_000

        async with site.http.post("/prompt", data=endless()) as answer:
            assert answer.status == 413
        await alive(site)
