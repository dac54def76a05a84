"""Is every kind of file that holds a workflow read, by `imagen convert` and `imagen run` alike?"""

import io
import json
import random

import pytest
from host_graphs import Ui, entry
from mutations import exif, jpeg, png, png_packed, webp
from PIL import Image

from imagen_host.graphs.forms import WorkflowError
from imagen_host.graphs.reading import about, as_json, read_workflow

PROMPT = {"1": entry("Number", value=3), "2": entry("Show", value=["1", 0])}


@pytest.fixture
def ui(object_info):
    graph = Ui(object_info)
    graph.link(graph.node("Number", [5]), graph.node("Show", ["größer"]), "value")
    return graph.json()


@pytest.fixture
def read(tmp_path, object_info):
    def read(content):
        path = tmp_path / "some.file"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return read_workflow(path, object_info)

    return read


def value_in(loaded):
    """3 where the prompt was taken, 5 where the graph was; and whether the graph is kept."""
    return loaded.prompt["1"]["inputs"]["value"], loaded.ui is not None


def entry_of_history(ui):
    return [7, "id", PROMPT, {"extra_pnginfo": {"workflow": ui}}, ["2"]]


RECORDS = {
    "graph": (lambda ui: ui, (5, True)),
    "prompt": (lambda ui: PROMPT, (3, False)),
    "workflow in an object": (lambda ui: {"workflow": ui}, (5, True)),
    "output and workflow": (lambda ui: {"output": PROMPT, "workflow": ui}, (3, True)),
    "output alone": (lambda ui: {"output": PROMPT}, (3, False)),
    "prompt and workflow": (lambda ui: {"prompt": PROMPT, "workflow": ui}, (3, True)),
    "nothing and workflow": (lambda ui: {"prompt": None, "workflow": ui}, (5, True)),
    "prompt and nothing": (lambda ui: {"prompt": PROMPT, "workflow": None}, (3, False)),
    "a request": (lambda ui: {"prompt": PROMPT, "extra_data": {"extra_pnginfo": {"workflow": ui}}}, (3, True)),
    "history": (lambda ui: {"id": {"prompt": entry_of_history(ui), "outputs": {}, "status": {}}}, (3, True)),
    "an entry of a history": (lambda ui: {"prompt": entry_of_history(ui), "outputs": {}}, (3, True)),
    "an entry of a queue": (entry_of_history, (3, True)),
}


@pytest.mark.parametrize("case", RECORDS)
def test_records_that_hold_a_workflow(read, ui, case):
    make, expected = RECORDS[case]
    assert value_in(read(make(ui))) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_encodings(read, ui, encoding):
    loaded = read(json.dumps(ui, ensure_ascii=False).encode(encoding))
    assert loaded.prompt["2"]["inputs"]["label"] == "größer"


@pytest.mark.parametrize("make", [png, png_packed, webp, jpeg])
def test_pictures_that_carry_a_workflow(read, ui, make):
    graph, prompt = json.dumps(ui), json.dumps(PROMPT)
    assert value_in(read(make({"prompt": prompt, "workflow": graph}))) == (3, True)
    assert value_in(read(make({"workflow": graph}))) == (5, True)
    assert value_in(read(make({"prompt": prompt}))) == (3, False)
    for nothing in ("", "null", "{}", "[]", "{broken"):
        assert value_in(read(make({"prompt": nothing, "workflow": graph}))) == (5, True)
        assert value_in(read(make({"prompt": prompt, "workflow": nothing}))) == (3, False)


def test_a_workflow_in_an_exif_comment_or_with_a_capital(read, ui):
    file, tags = io.BytesIO(), Image.Exif()
    tags.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + f"Workflow:{json.dumps(ui)}".encode("utf-16-le")
    Image.new("RGB", (4, 4)).save(file, "JPEG", exif=tags)
    assert value_in(read(file.getvalue())) == (5, True)


def test_a_text_of_many_megabytes_is_no_reason_to_refuse_a_picture(read, ui):
    ui["extra"]["thumbnail"] = random.Random(0).randbytes(1_500_000).hex()
    assert value_in(read(png_packed({"workflow": json.dumps(ui)}))) == (5, True)


def test_pixels_are_not_decoded_to_read_a_workflow(read, ui):
    data = png({"workflow": json.dumps(ui)})
    huge = data.replace(b"\0\0\0\1\0\0\0\1\x08", b"\0\xff\xff\xff\0\xff\xff\xff\x08")
    assert huge != data and value_in(read(huge)) == (5, True)


REFUSED = {
    "carries no workflow": png({}),
    "some.file carries no workflow": webp({"other": "{}"}),
    "damaged PNG": png({"workflow": "{}"})[:60],
    "a packed text cannot be read": png_packed({"workflow": "{}"}).replace(b"x\x9c", b"xx"),
    "damaged picture": b"RIFF\x10\0\0\0WEBPVP8X",
    "damaged picture .its header": b"\xff\xd8\xff\xe0\0",
    "the prompt in .*some.file is not JSON": png({"prompt": "{broken"}),
    "an object that is no workflow .with a, b, c": {"a": 1, "b": 2, "c": 3, "d": 4},
    "a list that is no workflow": [1],
    "a history of 2 runs: keep the one": {"a": {"prompt": [0, "a", PROMPT]}, "b": {"prompt": [1, "b", PROMPT]}},
    "is not text": b"\xff\xfe\x00\xd8",
    "a picture that carries one": b"GIF89a\xff\xff",
    "nested more than 100": b"[" * 50_000,
    "appears twice": b'{"a": 1, "a": 2}',
    "link should be a whole number": {"nodes": [{"id": 1, "type": "Note", "inputs": [{"link": 10**500}]}]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_holds_no_workflow_is_refused_in_a_line(read, message):
    with pytest.raises(WorkflowError, match=message) as caught:
        read(REFUSED[message])
    assert len(str(caught.value).splitlines()) == 1 and "Error" not in str(caught.value)


def test_the_exif_of_these_tests_is_what_pillow_reads(read):
    with Image.open(io.BytesIO(webp({"workflow": "{}", "prompt": "[1]"}))) as picture:
        assert dict(picture.getexif()) == {0x010F: "workflow:{}", 0x0110: "prompt:[1]"}
    assert exif({}).startswith(b"II*")


def test_a_list_of_workflows_says_of_each_what_it_is_or_what_is_wrong(tmp_path, ui, registry):
    def line(content):
        path = tmp_path / "one.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode("utf-16"))
        return about(path, registry.classes)

    assert line({"workflow": ui}) == "2 nodes" and line(PROMPT) == "a prompt"
    assert line({**ui, "extra": {"description": "First.\nSecond."}}) == "First."
    ui["nodes"][0]["type"] = "KSampler"
    assert line(ui) == "(needs ComfyUI) 2 nodes"
    assert line({"nodes": [5]}).startswith("cannot be read: one.json: a node without id or type")
    assert line(b"{").startswith("cannot be read: one.json is not JSON")
    assert line([]).startswith("cannot be read: one.json holds a list that is no workflow")


def test_a_prompt_that_json_cannot_hold_is_refused(read):
    prompt = {"1": entry("Number", value=float("nan")), "2": entry("Show", value=["1", 0])}
    with pytest.raises(WorkflowError, match="node 1, input value: a value is not a finite number"):
        as_json(read(prompt).prompt)
    assert json.loads(as_json(PROMPT)) == PROMPT
