"""Is what became of a prompt still known after a restart, and bounded?"""

import json

from host_graphs import entry
from server_client import picture_prompt, running, sum_prompt

from imagen_host.jobs import history
from imagen_host.jobs.entries import read_line
from imagen_host.jobs.history import History


async def test_history_is_there_after_a_restart(server, caplog):
    broken = {"n": entry("Number", value=1), "b": entry("Broken", value=["n", 0]), "s": entry("Show", value=["b", 0])}
    workflow = {"extra_pnginfo": {"workflow": {"nodes": [], "title": "Ж"}}}
    async with running(server) as site:
        for prompt in (sum_prompt(), broken, picture_prompt()):
            await site.ended(await site.queue(prompt, client_id="me", extra_data=workflow))
        before = [await site.get(path) for path in ("/history", "/jobs")]
    async with running(server) as site:
        assert [await site.get(path) for path in ("/history", "/jobs")] == before
        await site.ended(await site.queue(sum_prompt()))
        assert len(await site.get("/history")) == 4
    assert [job["status"] for job in before[1]["jobs"]] == ["completed", "failed", "completed"]


async def test_an_entry_is_what_the_editor_reads(server):
    async with running(server) as site:
        prompt_id = await site.queue(picture_prompt(), client_id="me")
        found = await site.ended(prompt_id)
    image = {"filename": "test_00001_.png", "subfolder": "", "type": "output"}
    assert found["outputs"] == {"save": {"images": [image]}}
    assert found["meta"] == {
        "save": {"node_id": "save", "display_node": "save", "parent_node": None, "real_node_id": "save"}
    }
    assert found["prompt"][1:3] == [prompt_id, picture_prompt()]
    status = found["status"]
    assert (status["status_str"], status["completed"]) == ("success", True)
    assert [kind for kind, _ in status["messages"]] == ["execution_start", "execution_cached", "execution_success"]


async def test_pages_deletion_and_clearing(server):
    async with running(server) as site:
        for number in range(5):
            await site.ended(await site.queue(sum_prompt(number), prompt_id=str(number)))
        assert list(await site.get("/history?max_items=2")) == ["3", "4"]
        assert list(await site.get("/history?max_items=2&offset=1")) == ["1", "2"]
        assert list(await site.get("/history?offset=-1&max_items=99")) == list("01234")
        assert await site.get("/history/unknown") == {}
        assert "error" in await site.get("/history?max_items=many", 400)
        await site.post("/history", {"delete": ["1", "unknown"]})
        assert list(await site.get("/history")) == list("0234")
    async with running(server) as site:
        assert list(await site.get("/history")) == list("0234")
        await site.post("/history", {"clear": True})
        assert await site.get("/history") == {}
    async with running(server) as site:
        assert await site.get("/history") == {}


def an_entry(size=10):
    text = {"prompt": [1, "id", {"x": "x" * size}, {}, []], "outputs": {}, "meta": {}}
    status = {"status_str": "success", "completed": True, "messages": []}
    return read_line(json.dumps(["id", {**text, "status": status}]).encode())[1]


def test_a_line_that_a_crash_cut_short_is_dropped_and_the_rest_kept(tmp_path, caplog):
    path = tmp_path / "history.jsonl"
    kept = History(path)
    for name in "abc":
        kept.add(name, an_entry())
    whole = path.read_bytes()
    for cut in (whole[:-30], whole + b"\xff\n[]\n7\nnull\n[1, 2]\n" + b"[" * 100_000 + b'\n["d", {"prompt": 1}]'):
        path.write_bytes(cut)
        again = History(path)
        expected = [name for name in "abc" if len(cut) > len(whole) or name != "c"]
        assert list(again.entries) == expected and "dropped" in caplog.text
        again.add("e", an_entry())
        assert list(History(path).entries) == [*expected, "e"]
    assert sorted(file.name for file in tmp_path.iterdir()) == [".imagen-lock", "history.jsonl"]


def test_the_oldest_go_when_there_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "MOST_ENTRIES", 5)
    path = tmp_path / "history.jsonl"
    kept = History(path)
    for number in range(37):
        kept.add(str(number), an_entry())
        assert len(path.read_bytes().splitlines()) <= 11
    assert list(kept.entries) == list(History(path).entries) == ["32", "33", "34", "35", "36"]


def test_the_oldest_go_when_they_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "MOST_BYTES", 5000)
    kept = History(tmp_path / "history.jsonl")
    for number in range(20):
        kept.add(str(number), an_entry(1000))
    assert list(kept.entries) == ["16", "17", "18", "19"]
    assert list(History(tmp_path / "history.jsonl").entries) == ["16", "17", "18", "19"]
    kept.add("large", an_entry(9000))
    assert list(kept.entries) == ["large"]


def test_a_file_that_cannot_be_written_is_a_warning(tmp_path, caplog):
    (tmp_path / "user").write_text("a file where a folder should be")
    kept = History(tmp_path / "user" / "history.jsonl")
    kept.add("a", an_entry())
    kept.remove(["b"])
    assert list(kept.entries) == ["a"] and "the history is not kept" in caplog.text


def test_lines_are_plain_ascii_json(tmp_path):
    kept = History(tmp_path / "history.jsonl")
    kept.add("é\ud800\u2028", an_entry())
    assert json.loads((tmp_path / "history.jsonl").read_bytes().decode("ascii"))[0] == "é\ud800\u2028"
    assert list(History(tmp_path / "history.jsonl").entries) == ["é\ud800\u2028"]
