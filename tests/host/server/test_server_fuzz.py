"""Does anything that hypothesis thinks of, as a request or as a file of a user's, get more than a 4xx out of the server?

FUZZ=5000 tries as many requests, and a quarter as many files; the default is what `make test` has time for.
"""

import asyncio
import copy
import gzip
import json
import os
from contextlib import contextmanager
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from server_client import running, sum_prompt

EXAMPLES = int(os.environ.get("FUZZ", "100"))


def bounded(examples):
    """The same examples on every machine, however slow it is."""
    slow = list(HealthCheck)
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=slow)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
odd = st.sampled_from(
    [10**400, -(2**63), 1e308, "\ud800", "\0", "../x", "x" * 5000, [], {}, ["n", 0], ["n", 99], {"__value__": []}]
)
values = st.recursive(
    plain | odd, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
names = st.text(max_size=12) | st.sampled_from(
    ["x.png", "a.json", "workflows/a.json", "..", "a/../b", "%2e%2e", "show", "a" * 255]
)
whole = {
    "prompt": sum_prompt(), "client_id": "me", "prompt_id": "a", "front": False, "number": 3, "clear": False,
    "delete": ["x"], "job_ids": ["x"], "extra_data": {"extra_pnginfo": {"workflow": {"id": "1", "nodes": []}}},
    "unload_models": True,
}  # fmt: skip


def places(value, path=()):
    """The path of everything inside a JSON value, the value itself left out."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(value[key], (*path, key))


@st.composite
def damaged(draw, value):
    """JSON text of `value` with one to three of its parts replaced or left out."""
    value = json.loads(json.dumps(value))
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(value))
        if not found:
            break
        *way, last = draw(st.sampled_from(found))
        target = value
        for key in way:
            target = target[key]
        if draw(st.booleans()):
            target[last] = copy.deepcopy(draw(values))  # the next change may be inside it
        else:
            del target[last]
    return json.dumps(value)


@st.composite
def broken(draw, text):
    """Bytes of a text with some of them changed, cut off or repeated."""
    data = bytearray(draw(text).encode("utf-8", "surrogatepass"))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        how = draw(st.sampled_from(["flip", "cut", "insert", "repeat"]))
        if how == "cut":
            del data[place:]
        elif how == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif how == "insert":
            data[place:place] = draw(st.binary(max_size=6))
        else:
            data += data[place : place + 200]
    return bytes(data)


part = st.tuples(
    st.sampled_from(["image", "type", "subfolder", "overwrite", "original_ref", ""]), names, st.binary(max_size=60)
)


def form(parts):
    head = '--x\r\nContent-Disposition: form-data; name="{}"; filename="{}"\r\n\r\n'
    written = [head.format(name, file).encode("utf-8", "replace") + data + b"\r\n" for name, file, data in parts]
    return b"".join(written) + b"--x--\r\n"


bodies = st.one_of(
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    damaged(whole).map(str.encode),
    broken(st.just(json.dumps(whole))),
    st.integers(1, 5000).map(lambda depth: b"[" * depth),
    st.integers(1, 300).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth),
    st.binary(max_size=50).map(gzip.compress),
    st.lists(part, max_size=4).map(form),
)
quoted = names.map(lambda name: quote(name, safe="", errors="replace"))
read_paths = st.one_of(
    st.sampled_from(["/prompt", "/queue", "/history", "/jobs", "/settings", "/ws", "/", "/object_info", "/userdata"]),
    st.sampled_from(["/system_stats", "/i18n", "/global_subgraphs", "/extensions", "/features", "/users"]),
    st.builds("/{}/{}".format, st.sampled_from(["history", "jobs", "settings", "userdata", "object_info"]), quoted),
    st.builds("/{}/{}".format, st.sampled_from(["global_subgraphs", "workflow_templates/x", "assets", "models"]), quoted),
    st.builds("/userdata?dir={}&recurse={}&full_info=true".format, quoted, st.sampled_from(["true", "false"])),
    st.builds(
        "/view?filename={}&subfolder={}&type={}&preview={}&channel={}".format,
        quoted, quoted, st.sampled_from(["input", "output", "temp", "x"]), quoted, st.sampled_from(["rgb", "a", "x"]),
    ),
    st.builds("/jobs?status={}&limit={}&offset={}&sort_by={}".format, quoted, quoted, quoted, quoted),
    st.builds("/history?max_items={}&offset={}".format, quoted, quoted),
)  # fmt: skip
write_paths = st.one_of(
    st.sampled_from(["/prompt", "/queue", "/history", "/jobs/cancel", "/interrupt", "/free", "/settings"]),
    st.sampled_from(["/prompt", "/upload/image", "/upload/mask"]),
    st.builds("/settings/{}".format, quoted),
    st.builds("/jobs/{}/cancel".format, quoted),
    st.builds("/userdata/{}?overwrite={}".format, quoted, st.sampled_from(["true", "false", "x"])),
    st.builds("/userdata/{}/move/{}?overwrite={}".format, quoted, quoted, st.sampled_from(["true", "false", "x"])),
)
header = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
names_of_headers = [
    "Content-Encoding", "Range", "If-Range", "If-Modified-Since", "If-None-Match", "Origin", "Sec-Fetch-Site",
    "Sec-Fetch-Mode", "Accept", "Accept-Encoding", "Upgrade", "Cookie", "Expect", "Host", "X-Forwarded-For",
]  # fmt: skip
known_headers = ["gzip", "deflate", "br", "bytes=0-1", "bytes=9-", "100-continue", "websocket", "same-origin"]
headers = st.dictionaries(st.sampled_from(names_of_headers), header | st.sampled_from(known_headers), max_size=2)
kinds = st.sampled_from(
    ["application/json", "multipart/form-data; boundary=x", "multipart/mixed", "text/plain; charset=nonsense", "x"]
)
requests = st.one_of(
    st.tuples(st.just("GET"), read_paths),
    st.tuples(st.just("POST"), write_paths),
    st.tuples(st.just("POST"), write_paths),
    st.tuples(st.sampled_from(["PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]), read_paths | write_paths),
)


def no_constant(constant):
    raise AssertionError(f"{constant} is no JSON")


def check(method, path, status, kind, text):
    """A 4xx says in JSON and on one line why; a 2xx that is JSON is JSON."""
    assert status < 500, (method, path, status, text[:300])
    if method == "HEAD" or status == 304:
        return
    data = json.loads(text, parse_constant=no_constant) if kind == "application/json" and text else None
    if status >= 400:
        error = data["error"]
        line = error if isinstance(error, str) else error["message"]
        assert line and "\n" not in line and "Traceback" not in line, (method, path, line)


@contextmanager
def served(server):
    """A running server and a way to await something in it, for functions that hypothesis calls."""
    loop, context = asyncio.new_event_loop(), running(server)
    site = loop.run_until_complete(context.__aenter__())
    try:
        yield site, loop.run_until_complete
    finally:
        loop.run_until_complete(context.__aexit__(None, None, None))
        loop.close()


def silent(caplog):
    """No traceback in the log, but for nodes that fail as the test pack's do."""
    return not [record for record in caplog.records if record.exc_info]


@pytest.mark.timeout(0)
def test_any_request_gets_an_answer(server, caplog):
    seen = {}

    async def send(site, method, path, body, kind, more):
        more = {"Content-Type": kind, "Connection": "close", **more}
        async with site.http.request(method, path, data=body, headers=more, skip_auto_headers=["Accept"]) as answer:
            check(method, path, answer.status, answer.content_type, await answer.text(errors="replace"))
            seen[answer.status] = seen.get(answer.status, 0) + 1

    with served(server) as (site, wait):

        @bounded(EXAMPLES)
        @given(requests, st.sampled_from(["", "/api"]), bodies, kinds, headers)
        def one(request, prefix, body, kind, more):
            method, path = request
            if (
                method == "HEAD"
            ):  # aiohttp answers a HEAD whose body it cannot unpack with a body, which its client minds
                more.pop("Content-Encoding", None)
            wait(send(site, method, prefix + path, body, kind, more))

        one()
        assert wait(site.get("/users")) and silent(caplog), caplog.text[-3000:]
    print(f"statuses: {dict(sorted(seen.items()))}")
    assert {200, 400, 404} <= set(seen), "the requests are all of one kind"


@st.composite
def histories(draw):
    """A file of history, parts of it damaged, and the ids of the lines that are whole."""
    lines, kept = [], []
    for number in range(draw(st.integers(0, 4))):
        entry = entry_of(f"p{number}")
        how = draw(st.sampled_from(["whole", "damaged", "broken", "junk"]))
        if how == "whole":
            kept.append(f"p{number}")
            lines.append(json.dumps(entry).encode())
        elif how == "junk":
            lines.append(draw(bodies).replace(b"\n", b" "))
        else:
            text = draw(damaged(entry)) if how == "damaged" else json.dumps(entry)
            lines.append(draw(broken(st.just(text))).replace(b"\n", b" ") if how == "broken" else text.encode())
    return b"".join(line + b"\n" for line in lines), kept


def entry_of(name):
    messages = [["execution_start", {"prompt_id": name, "timestamp": 5}], ["execution_success", {"timestamp": 7}]]
    outputs = {"save": {"images": [{"filename": "x.png", "subfolder": "", "type": "output"}]}}
    item = [1, name, sum_prompt(), {"create_time": 3, "extra_pnginfo": {"workflow": {"id": "w"}}}, ["show"]]
    return [name, {"prompt": item, "outputs": outputs, "meta": {}, "status": {"completed": True, "messages": messages}}]


@pytest.mark.timeout(0)
def test_any_files_of_history_and_settings_are_lived_with(server, caplog):
    folder = server["user_directory"]
    folder.mkdir()

    async def ask(site, kept):
        for path in (
            "/history",
            "/history?max_items=1",
            "/jobs",
            "/jobs?sort_by=execution_duration&limit=1",
            "/settings",
        ):
            async with site.http.get(path) as answer:
                text = await answer.text()
                assert answer.status == 200, text
                json.loads(text, parse_constant=no_constant)
        known = await site.get("/history")
        assert set(kept) <= set(known), "a whole line was lost"
        for name in known:
            assert (await site.get(f"/jobs/{quote(name, safe='')}"))["id"] == name
        await site.post("/settings", {"new": 1})
        await site.post("/history", {"delete": list(known)[:1]})
        assert (await site.get("/settings"))["new"] == 1

    settings_text = json.dumps({"a": 1, "b": {"c": [1, "x"]}, "d": "é"}, indent=2)
    damaged_settings = broken(st.just(settings_text)) | damaged(json.loads(settings_text)).map(str.encode) | bodies
    with served(server) as (site, wait):

        @bounded(EXAMPLES // 4)
        @given(histories(), damaged_settings)
        def one(history, setting):
            data, kept = history
            wait(site.post("/history", {"clear": True}))
            (folder / "history.jsonl").write_bytes(data)
            (folder / "comfy.settings.json").write_bytes(setting)
            wait(ask(site, kept))

        one()
    assert silent(caplog), caplog.text[-3000:]
