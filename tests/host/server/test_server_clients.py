"""Can a slow client, a dead one or a rude one hold anybody up? And do 20 clients with 200 prompts all get theirs?"""

import asyncio
import gc
import json
import socket
import struct

import psutil
from aiohttp import WSMsgType, WSServerHandshakeError
from server_client import picture_prompt, running, sum_prompt

from imagen_host.server import clients as outboxes

HANDSHAKE = (
    "GET /ws?clientId={sid} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def deaf(site, sid):
    """A websocket whose other end never reads: a few kilobytes fill it."""
    port = site.http.server.port
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", port))
    raw.sendall(HANDSHAKE.format(sid=sid, port=port).encode())
    return raw


async def clients(site, count):
    while len(site.state.clients.open) != count:
        await asyncio.sleep(0.005)


async def test_a_client_that_never_reads_is_cut_off_and_holds_nobody_up(server, monkeypatch):
    monkeypatch.setattr(outboxes, "LAGGING", 20)
    monkeypatch.setattr(outboxes, "LARGEST_OUTBOX", 40_000)
    async with running(server) as site, site.listen("me") as ear:
        await ear.next()
        slow = deaf(site, "me")
        await clients(site, 2)
        for number in range(400):  # enough to fill the system's own buffers too
            if len(site.state.clients.open) == 1:
                break
            prompt_id = await site.queue(picture_prompt(200, seed=number, preview=True), client_id="me")
            await ear.over(prompt_id)
            assert ear.kinds()[-3:] == ["execution_success", "status", "executing"]
            assert ear.of("progress")[-1] == {"value": 200, "max": 200, "node": "draw", "prompt_id": prompt_id}
        assert [client.sid for client in site.state.clients.open] == ["me"]
        slow.close()


class Transport:
    aborted = False

    def abort(self):
        self.aborted = True


class Request:
    """What a Client reads of the request that opened its socket."""

    def __init__(self):
        self.transport, self.query = Transport(), {}


async def test_an_outbox_of_a_slow_reader_keeps_the_newest_progress_of_every_prompt():
    request = Request()
    client = outboxes.Client(None, request)
    for number in range(4000):  # a fast graph, with a saver at every tenth node
        client.post("executing", f"a at {number}", "a")
        client.post("progress_state", f"a {number}", "a")
        client.post("preview", b"preview %d" % number)
        client.post("progress", str(number), "a")
        if number % 10 == 0:
            client.post("executed", str(number), "a")
    client.post("progress_state", "b 1", "b")
    kinds = [kind for kind, _ in client.outbox.values()]
    assert [text for kind, text in client.outbox.values() if kind == "executed"] == [str(n) for n in range(0, 4000, 10)]
    assert [list(client.outbox.values())[place] for place in range(-5, 0)] == [
        ("executing", "a at 3999"),
        ("progress_state", "a 3999"),
        ("preview", b"preview 3999"),
        ("progress", "3999"),
        ("progress_state", "b 1"),
    ]
    assert kinds.count("preview") == 1 and len(kinds) < 400 + outboxes.LAGGING + 10
    assert not request.transport.aborted


async def test_an_outbox_gives_up_its_client_when_what_counts_is_left_unread():
    request = Request()
    client = outboxes.Client(None, request)
    for number in range(20_000):
        client.post("executed", f"{number:400}", "a")  # as a saver's answer
    assert not request.transport.aborted
    client.post("executed", "x" * outboxes.LARGEST_OUTBOX, "a")
    assert request.transport.aborted and len(client.outbox) == client.size == 0


async def test_a_connection_that_dies_without_a_word_is_forgotten(server):
    async with running(server) as site, site.listen("me") as ear:
        raw = deaf(site, "me")
        await clients(site, 2)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raw.close()  # a reset, as of a machine that lost its power
        await ear.over(await site.queue(picture_prompt(200, preview=True), client_id="me"))
        await clients(site, 1)


async def test_bad_frames_are_ignored_or_end_their_connection_only(server):
    async with running(server) as site, site.listen("good") as ear:
        async with site.http.ws_connect("/ws?clientId=bad") as bad:
            await bad.receive_json()
            for text in ("", "{", "null", "[]", "7", "[" * 10_000, '{"type":"feature_flags"}', '{"type":[]}'):
                await bad.send_str(text)
            await bad.send_bytes(b"\x00\xff")
            await bad.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": "yes"}})
            answers = [(await bad.receive_json())["type"] for _ in range(2)]
            assert answers == ["feature_flags"] * 2
            await bad.send_str("x" * 100_000)
            assert (await bad.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        raw = deaf(site, "worse")
        await clients(site, 2)
        raw.sendall(b"\xff\xff\xff\xff" * 10)  # no frame of any kind
        await clients(site, 1)
        raw.close()
        for headers in ({}, {"Upgrade": "websocket", "Connection": "Upgrade"}):
            async with site.http.get("/ws", headers=headers) as answer:
                assert answer.status == 400
        await ear.over(await site.queue(sum_prompt(), client_id="good"))


async def test_a_page_of_another_site_may_not_listen(server):
    async with running(server) as site:
        try:
            await site.http.ws_connect("/ws", headers={"Origin": "http://evil.example"})
        except WSServerHandshakeError as error:
            assert error.status == 403
        else:
            raise AssertionError("taken")


async def test_a_long_client_id_is_cut(server):
    async with running(server) as site, site.http.ws_connect(f"/ws?clientId={'x' * 5000}") as one:
        assert len((await one.receive_json())["data"]["sid"]) == 200


CLIENTS, EACH = 20, 10


async def one_client(site, number):
    """Queue prompts and listen until the last is over; returns the sums shown, in order."""
    async with site.listen(f"client {number}") as ear:
        ids = [await site.queue(sum_prompt(number, k), client_id=f"client {number}") for k in range(EACH)]
        await ear.over(ids[-1])
    assert [data["prompt_id"] for data in ear.of("execution_success")] == ids
    return [data["output"]["values"][0] for data in ear.of("executed")]


async def round_of_200(site):
    dead = [deaf(site, f"client {number}") for number in range(5)]
    answers = await asyncio.gather(*(one_client(site, number) for number in range(CLIENTS)))
    assert answers == [[number + k for k in range(EACH)] for number in range(CLIENTS)]
    for raw in dead:
        raw.close()
    await clients(site, 0)


async def test_200_prompts_of_20_clients_are_answered_in_order_and_memory_stays(server):
    process = psutil.Process()
    used = []
    async with running(server) as site:
        for _ in range(3):
            await round_of_200(site)
            gc.collect()
            used.append(process.memory_info().rss / 2**20)
        history = await site.get("/history")
    assert len(history) == 500 and all(entry["status"]["completed"] for entry in history.values())
    numbers = [entry["prompt"][0] for entry in history.values()]
    assert numbers == sorted(numbers), "prompts did not run in the order of their arrival"
    assert used[-1] - used[0] < 30, f"memory grew: {json.dumps(used)} MiB"
