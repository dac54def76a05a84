"""Do damaged files cost their damaged entries only, and do two servers on one user folder lose nothing of each other's?"""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server_client import running, sum_prompt

from imagen_host.jobs import history
from imagen_host.jobs.entries import read_line
from imagen_host.jobs.history import History
from imagen_host.server.settings_file import FILE, Settings, read

UNHASHABLE = '[["a"],{"prompt":[],"status":{"messages":[]}}]'  # what once kept the server from starting


def line(name, **changes):
    status = {"status_str": "success", "completed": True, "messages": [["execution_success", {"timestamp": 2}]]}
    shown = {"save": {"images": [{"filename": "x.png", "subfolder": "", "type": "output"}]}}
    data = {"prompt": [1, name, {}, {"create_time": 1}, ["save"]], "outputs": shown, "meta": {}, "status": status}
    return json.dumps([name, {**data, **changes}])


WRONG = {
    "id": UNHASHABLE, "no entry": '["a"]', "three": '["a", {}, 1]', "no object": '["a", 5]', "number": "7",
    "cut": line("a")[:-9],
    "prompt": line("a", prompt=[1, "a", {}]), "number in it": line("a", prompt=["x", "a", {}, {}, []]),
    "nan": line("a", prompt=[float("nan"), "a", {}, {}, []]),
    "huge": line("a", prompt=[1, "a", {}, {"create_time": 1e999}, []]),
    "time": line("a", prompt=[1, "a", {}, {"create_time": "now"}, []]), "graph": line("a", prompt=[1, "a", [], {}, []]),
    "outputs": line("a", outputs=[1]), "outputs in it": line("a", outputs={"x": 5}), "status": line("a", status=None),
    "messages": line("a", status={"messages": [[["x"], {}]]}), "message": line("a", status={"messages": [["x"]]}),
    "timestamp": line("a", status={"messages": [["execution_success", {"timestamp": []}]]}),
    "deep": line("a", meta=json.loads("[" * 300 + "]" * 300)), "endless": "[" * 100_000,
    "bytes": "\udcff\udcfe", "empty": "",
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_a_damaged_line_is_dropped_and_said_and_the_rest_is_kept(server, caplog, name):
    path = server["user_directory"] / "history.jsonl"
    path.parent.mkdir()
    text = f"{line('before')}\n{WRONG[name]}\n{line('after')}\n"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    async with running(server) as site:
        assert caplog.text.count("no entries were dropped: 1,") == 1 and "Traceback" not in caplog.text
        assert list(await site.get("/history")) == ["before", "after"]
        assert [job["id"] for job in (await site.get("/jobs"))["jobs"]] == ["before", "after"]
        for known in ("before", "after"):
            assert (await site.get(f"/jobs/{known}"))["status"] == "completed"
        await site.ended(await site.queue(sum_prompt(), prompt_id="new"))
    caplog.clear()
    assert list(History(path).entries) == ["before", "after", "new"] and caplog.text == ""


@pytest.mark.parametrize("what", ["folder", "endless line", "nothing"])
async def test_a_history_that_is_no_file_of_lines(server, what, monkeypatch):
    path = server["user_directory"] / "history.jsonl"
    path.parent.mkdir()
    if what == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"\0" * 3_000_000 if what == "endless line" else b"")
    async with running(server) as site:
        assert await site.get("/history") == {} and (await site.get("/jobs"))["jobs"] == []
        assert (await site.ended(await site.queue(sum_prompt())))["status"]["completed"]


def test_two_histories_are_one(tmp_path):
    """Two servers: each sees what the other added, took back, cleared and wrote anew."""
    one, two = History(tmp_path / "history.jsonl"), History(tmp_path / "history.jsonl")
    for number in range(6):
        name = f"{number}"
        (one, two)[number % 2].add(name, read_line(line(name).encode())[1])
    assert list(one.current()) == list(two.current()) == list("012345")
    two.remove(["1", "4", "none"])
    assert list(one.current()) == list("0235") and one.get("1") is None
    one.remove()
    assert two.current() == {}
    two.add("again", read_line(line("again").encode())[1])
    assert list(one.current()) == list(two.current()) == ["again"]


def test_one_history_is_written_anew_while_another_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "MOST_ENTRIES", 5)
    one, two = History(tmp_path / "history.jsonl"), History(tmp_path / "history.jsonl")
    for number in range(40):
        (one, two)[number % 3 == 0].add(str(number), read_line(line(str(number)).encode())[1])
        assert list(one.current()) == list(two.current())
    assert list(two.current()) == ["35", "36", "37", "38", "39"] == list(History(tmp_path / "history.jsonl").entries)


def test_many_writers_at_once_lose_no_entry(tmp_path):
    def write(writer):
        mine = History(tmp_path / "history.jsonl")
        for number in range(25):
            mine.add(f"{writer} {number}", read_line(line(f"{writer} {number}").encode())[1])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(History(tmp_path / "history.jsonl").entries) == 100


def test_a_line_that_another_server_is_writing_is_waited_for(tmp_path, caplog):
    reader = History(tmp_path / "history.jsonl")
    with open(tmp_path / "history.jsonl", "wb") as file:
        file.write(line("a").encode()[:50])
        file.flush()
        assert reader.current() == {}
        file.write(line("a").encode()[50:] + b"\n")
    assert list(reader.current()) == ["a"] and caplog.text == ""


async def test_two_servers_share_history_and_settings(server):
    async with running(server) as first, running(server) as second:
        for number in range(3):
            name = f"n{number}"
            await (first if number % 2 else second).post(f"/settings/{name}", number)
            await first.ended(await (first if number % 2 else second).queue(sum_prompt(), prompt_id=name))
        for site in (first, second):
            assert list(await site.get("/history")) == ["n0", "n1", "n2"]
            assert {f"n{number}": number for number in range(3)}.items() <= (await site.get("/settings")).items()
        await first.post("/history", {"delete": ["n1"]})
        assert [job["id"] for job in (await second.get("/jobs?sort_order=asc"))["jobs"]] == ["n0", "n2"]
        one = await first.post("/userdata/a.json?overwrite=false", b"1")
        await second.post("/userdata/a.json?overwrite=false", b"2", status=409)
        assert one == "a.json" and await second.get("/userdata/a.json") == 1
        assert await second.get("/userdata?dir=") == ["a.json", FILE, "history.jsonl"]  # no lock, no draft


def test_settings_that_change_at_once_are_all_kept(tmp_path):
    def change(writer):
        mine = Settings(tmp_path)
        for number in range(10):
            mine.change({f"{writer} {number}": number})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(change, range(4)))
    assert len(Settings(tmp_path).stored) == 0 and len(json.loads((tmp_path / FILE).read_text())) == 40


GOOD = {"a": 1, "b.c": {"d": [1, {"a": 2}], "text": 'with " and : \\'}, "e": "é", "f": None, "g": [], "h": 1.5}


@pytest.mark.parametrize("indent", [2, 4])
def test_every_entry_of_damaged_settings_but_the_damaged_one_is_kept(indent):
    """One byte changed, wherever: never an exception, and never more than two entries lost (a quote joins two)."""
    data = json.dumps(GOOD, indent=indent, ensure_ascii=False).encode()
    for place in range(len(data)):
        for byte in (0, 34, 92, 255, data[place] ^ 1):
            found, whole = read(data[:place] + bytes([byte]) + data[place + 1 :])
            same = [name for name, value in GOOD.items() if name in found and found[name] == value]
            assert len(same) >= len(GOOD) - 2 or (place == 0 and not whole), (place, byte, found)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("[" * 100_000, {}), ('{"a":' * 50_000, {}), ("", {}), ("null", {}), ("[1]", {}),
        ('{"a": NaN}', {}), ("\0" * 50, {}),
        ('{\n  "a": 1,\n  "b": Infinity,\n  "c": 3\n}', {"a": 1, "c": 3}), ('{\n  "a": 1,\n  "b": "cut', {"a": 1}),
        ('{\n  "a": ' + "[" * 300 + "]" * 300 + ',\n  "c": 3\n}', {"c": 3}),
        ('{\n  "a": {\n    "b": 1,\n    "c": \n  },\n  "d": 2\n}', {"d": 2}),
    ],
)  # fmt: skip
async def test_damaged_settings_stop_nothing_and_what_is_sound_is_kept(server, caplog, text, kept):
    async with running(server) as site:
        await site.post(f"/userdata/{FILE}", text.encode())
        found = await site.get("/settings")
        assert {name: found[name] for name in "abcdef" if name in found} == kept
        assert await site.get("/settings/a") == kept.get("a")
        assert caplog.text.count("is damaged") == 1 and "Traceback" not in caplog.text
        await site.post("/settings", {"new": 1})
        assert (await site.get("/settings")).items() >= {**kept, "new": 1}.items()
    folder = Path(server["user_directory"])
    assert json.loads((folder / FILE).read_text()) == {**kept, "new": 1}
    assert (folder / "comfy.settings.damaged.json").read_text() == text


async def test_a_folder_in_place_of_the_settings(server, caplog):
    (server["user_directory"] / FILE).mkdir(parents=True)
    async with running(server) as site:
        assert (await site.get("/settings"))["Comfy.TutorialCompleted"] is False
        assert "folder" in (await site.post("/settings", {"a": 1}, status=400))["error"]


async def test_saved_files_that_cannot_be_looked_at_are_left_out_of_the_list(server):
    folder = server["user_directory"]
    (folder / "workflows").mkdir(parents=True)
    (folder / "workflows" / "good.json").write_text("{}")
    (folder / "workflows" / "loop").symlink_to(folder / "workflows" / "loop")
    (folder / "workflows" / "gone.json").symlink_to(folder / "nowhere")
    (folder / "workflows" / ".imagen-0123456789ab.part").mkdir()
    (folder / "workflows" / ".imagen-0123456789ab.part" / "draft").write_text("half")
    async with running(server) as site:
        for query in ("", "&full_info=true", "&split=true"):
            found = await site.get(f"/userdata?dir=workflows&recurse=true{query}")
            assert len(found) == 1 and "good.json" in json.dumps(found)
