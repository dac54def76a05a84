"""Does every request that fails get JSON with a status that fits, and the log no traceback for what a client did?"""

import asyncio
import errno
import json
import logging
import math
import os

import pytest
from server_client import running, sum_prompt

from imagen_host.server import _routes


async def refused(site, method, path, status, **more):
    """The one line that the answer gives as its error."""
    async with site.http.request(method, path, **more) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (status, "application/json"), (method, path, text)
    error = json.loads(text, parse_constant=no_constant)["error"]
    line = error if isinstance(error, str) else f"{error['message']}: {error['details']}"
    assert line and "\n" not in line and not line.endswith(".") and "Error" not in line, line
    return line


LAST = {"Connection": "close"}  # what follows a damaged body cannot be read


def no_constant(constant):
    raise AssertionError(f"{constant} is no JSON")


def tracebacks(caplog):
    return [record.getMessage() for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()]


async def test_no_such_path_and_no_such_method(server):
    async with running(server) as site:
        for path in ("/api/nothing", "/userdata/none.json", "/assets/none.js", "/view?filename=none.png", "/jobs/none"):
            await refused(site, "GET", path, 404)
        await refused(site, "PATCH", "/queue", 405)
        async with site.http.delete("/queue") as answer:
            assert answer.headers["Allow"] == "GET,HEAD,POST"
        await refused(site, "GET", "/ws", 400)


@pytest.mark.parametrize("path", ["/prompt", "/settings", "/settings/a", "/queue", "/userdata/a.json", "/upload/image"])
async def test_damaged_bodies(server, path, caplog):
    async with running(server) as site:
        for encoding in ("gzip", "deflate"):
            await refused(site, "POST", path, 400, data=b"{}", headers={"Content-Encoding": encoding, **LAST})
        if path not in ("/userdata/a.json", "/upload/image"):
            for body in (
                b"{",
                b"\xff\xfe{",
                b"[" * 100_000,
                b'{"a":' * 5000,
                b'{"a": NaN, "prompt": {}}',
                b"\xed\xa0\x80",
            ):
                await refused(site, "POST", path, 400, data=body)
        async with site.http.get("/settings") as answer:
            assert answer.status == 200
        assert (await site.ended(await site.queue(sum_prompt())))["status"]["completed"]
    assert tracebacks(caplog) == []


@pytest.mark.parametrize(
    ("number", "status", "says"),
    [
        (errno.ENOSPC, 507, "the disk is full"),
        (errno.EROFS, 403, "read-only"),
        (errno.EACCES, 403, "may not use"),
        (errno.ENAMETOOLONG, 400, "too long"),
        (errno.EMFILE, 503, "too many files"),
        (errno.EIO, 500, "the system refused"),
    ],
)
async def test_what_the_system_refuses(server, monkeypatch, caplog, number, status, says):
    """The system's own errors, as a full or read-only disk gives them."""

    def refuse(*arguments, **more):
        raise OSError(number, "as the system says it")

    async with running(server) as site:
        await site.post("/userdata/a.json", b"{}")
        monkeypatch.setattr(os, "replace", refuse)
        for path in ("/userdata/a.json", "/settings"):
            assert says in await refused(site, "POST", path, status, data=b"{}")
        monkeypatch.undo()
        assert await site.get("/userdata/a.json") == {} and await site.get("/userdata?dir=") == ["a.json"]
    assert tracebacks(caplog) == []


async def test_names_that_are_too_long_for_the_system(server):
    async with running(server) as site:
        deep = "/".join(["a" * 190] * 30)
        await refused(site, "POST", f"/userdata/{deep}", 400, data=b"{}")
        await refused(site, "GET", f"/userdata/{deep}", 400)
        await refused(site, "GET", f"/view?filename={deep}", 400)


async def test_a_range_that_is_none(server):
    async with running(server) as site:
        await site.post("/userdata/a.json", b"{}")
        for wrong in ("bytes=9-1", "bytes=a", "x"):
            await refused(site, "GET", "/userdata/a.json", 416, headers={"Range": wrong})
        async with site.http.get("/userdata/a.json", headers={"Range": "bytes=0-0"}) as answer:
            assert (answer.status, await answer.text()) == (206, "{")


async def test_a_form_with_a_header_that_is_none(server):
    async with running(server) as site:
        kind = {"Content-Type": "multipart/form-data; boundary=x"}
        await refused(site, "POST", "/upload/image", 400, data=b"--x\n\x00", headers=kind)


async def test_a_template_that_is_no_graph_is_left_out(server, tmp_path, caplog):
    pack = tmp_path / "pack"
    (pack / "workflows").mkdir(parents=True)
    (pack / "subgraphs").symlink_to(pack / "workflows")
    for name, text in {"good": '{"a": {"class_type": "Number"}}', "cut": "{", "deep": "[" * 5000, "other": "5", 
                       "half": '{"nodes": 7}',
                       "odd": '{"a": [1]}', "list": "[]", "bytes": "\0"}.items():  # fmt: skip
        (pack / "workflows" / f"{name}.json").write_text(text)
    async with running({**server, "pack": pack}) as site:
        assert (await site.get("/workflow_templates"))["pack"] == ["good"]
        assert [card["name"] for card in (await site.get("/templates/index.json"))[0]["templates"]] == ["good"]
        assert [item["name"] for item in (await site.get("/global_subgraphs")).values()] == ["good"]
    assert "cut.json is left out" in caplog.text and tracebacks(caplog) == []


async def test_an_expectation_that_nobody_meets(server):
    async with running(server) as site:
        for path, status in (("/users", 417), ("/api/nothing", 417)):
            await refused(site, "GET", path, status, headers={"Expect": "nonsense"})
        async with site.http.post("/settings", data=b"{}", headers={"Expect": "100-continue"}) as answer:
            assert answer.status == 200


async def test_our_own_fault_is_json_and_is_logged(server, monkeypatch, caplog):
    async with running(server) as site:
        monkeypatch.setattr(site.state.queue, "status", lambda: 1 / 0)
        assert "mistake" in await refused(site, "GET", "/prompt", 500)
    assert "ZeroDivisionError" in caplog.text


async def test_what_is_no_http_is_one_line_in_the_log(server, caplog):
    caplog.set_level(logging.INFO)
    async with running(server) as site:
        port = site.http.server.port
        for start in (b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 500 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nA b\r\n\r\n",
                      b"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
                      b"POST /prompt HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
                      b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n"):  # fmt: skip
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(start)
            answer = await asyncio.wait_for(reader.read(), 300)
            head, _, body = answer.partition(b"\r\n\r\n")
            assert b" 400 " in head.splitlines()[0] and json.loads(body)["error"], (start[:50], answer[:200])
            writer.close()
        await site.get("/users")
    assert tracebacks(caplog) == []


def test_json_has_no_numbers_that_are_not_finite():
    value = {"a": [math.nan, math.inf, 1.5, {"b": -math.inf, math.inf: (1, math.nan)}], "c": {1, 2} and "x"}
    assert json.loads(_routes.as_text(value), parse_constant=no_constant) == {
        "a": [None, None, 1.5, {"b": None, "inf": [1, None]}],
        "c": "x",
    }
