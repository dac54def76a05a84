"""Does the command `imagen` do what it says, and does it refuse wrong input in one clear line with nothing lost?"""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from host_graphs import PACK, Ui, entry
from PIL import Image
from safetensors import safe_open

from imagen_host.cli import main

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMAGEN_PACK", str(PACK))
    return tmp_path


def graph(**picture):
    inputs = {"seed": 1, "steps": 2, "width": 6, "height": 4, "seconds_per_step": 0.0, "text": ["1", 0], **picture}
    return {
        "1": entry("ImagenTextEncode", title="Prompt", text="a cube", negative_text=""),
        "2": entry("Picture", title="Base 0.5", **inputs),
        "3": entry("SaveImage", images=["2", 0], filename_prefix="a"),
    }


def link_from(source):
    """The graph with another source for what it saves."""
    return graph() | {"3": entry("SaveImage", images=source, filename_prefix="a")}


def copy_of(name):
    return {"1": entry("LoadImage", image=name), "2": entry("SaveImage", images=["1", 0], filename_prefix="a")}


def ui_graph(object_info):
    ui = Ui(object_info)
    text, words = ui.node("ImagenTextEncode", ["a cube", "fog"], title="Prompt"), ui.primitive("linked", "STRING")
    picture = ui.node("Picture", [1, "randomize", 2, 6, 4, 0.0])
    save = ui.node("SaveImage", ["a"])
    ui.link(words, text, "text")
    ui.link(text, picture, "text")
    ui.link(picture, save, "images")
    return ui.json()


def write(data, name="graph.json"):
    Path(name).write_text(data if isinstance(data, str) else json.dumps(data))
    return name


def imagen(capsys, *arguments):
    """Run the command in this process: (exit code, stdout, stderr)."""
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as stop:
        code = stop.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def carried(path):
    """The prompt and the workflow in a PNG."""
    texts = Image.open(path).text
    return tuple(json.loads(texts[key]) if key in texts else None for key in ("prompt", "workflow"))


def left_behind(folder):
    return [path.name for path in Path(folder).rglob("*") if path.is_file()]


def test_run_saves_shows_progress_and_prints_the_path(capsys, workplace):
    code, out, err = imagen(capsys, "run", write(graph()))
    assert (code, out) == (0, f"{workplace}/output/a_00001_.png\n")
    assert "Base 0.5: 100%" in err and "2/2" in err and "nodes may print" in err
    assert left_behind("output") == ["a_00001_.png"]


def test_json_is_all_that_stdout_gets(capsys):
    code, out, err = imagen(capsys, "run", write(graph()), "--json", "--quiet", "--out", "here/there")
    report = json.loads(out)
    assert code == 0 and out.count("\n") == 1 and "100%" not in err
    assert [Path(path).is_file() for path in report["images"]] == [True]
    assert report["nodes"]["2"]["class"] == "Picture" and report["nodes"]["2"]["cached"] is False
    assert report["seconds"] > 0 and report["peak_rss_mb"] > 10


def test_options_change_prompt_seed_and_any_input(capsys):
    options = ["--prompt", "a = b.c", "--negative", "rain", "--seed", 9]
    sets = ["--set", "Base 0.5.width=5", "--set", "3.filename_prefix=b=c"]
    assert imagen(capsys, "run", write(graph()), *options, *sets)[0] == 0
    prompt, _ = carried("output/b=c_00001_.png")
    assert prompt["1"]["inputs"] == {"text": "a = b.c", "negative_text": "rain"}
    assert prompt["2"]["inputs"]["seed"] == 9 and prompt["2"]["inputs"]["width"] == 5


def test_a_graph_of_the_editor_runs_and_is_saved_with_the_changes(capsys, object_info):
    graph = write(ui_graph(object_info))
    assert imagen(capsys, "run", graph, "--prompt", "a ring", "--seed", "5", "--set", "Picture.height=3")[0] == 0
    prompt, workflow = carried("output/a_00001_.png")
    assert prompt["1"]["inputs"] == {"text": "a ring", "negative_text": "fog"}
    assert workflow["nodes"][2]["widgets_values"] == [5, "randomize", 2, 6, 3, 0.0]
    assert workflow["nodes"][0]["widgets_values"][0] == "a ring"
    assert workflow["nodes"][0]["inputs"][0]["link"] is None and len(workflow["links"]) == 2
    assert workflow["nodes"][1]["outputs"][0]["links"] == []
    assert json.loads(Path(graph).read_text())["nodes"][0]["widgets_values"][0] == "a cube"


def test_a_saved_picture_runs_again_and_gives_the_same(capsys, object_info):
    imagen(capsys, "run", write(ui_graph(object_info)), "--seed", "5")
    assert imagen(capsys, "run", "output/a_00001_.png")[0] == 0
    first, second = (Path(f"output/a_0000{i}_.png").read_bytes() for i in (1, 2))
    assert first == second


def test_changes_inside_a_subgraph_leave_out_the_graph_rather_than_save_a_wrong_one(capsys, object_info):
    inner = Ui(object_info)
    inner.node("Picture", [1, "fixed", 2, 6, 4, 0.0], id=11)
    links = [{"id": 1, "origin_id": 11, "origin_slot": 0, "target_id": -20, "target_slot": 0}]
    box = {"id": "box", "nodes": inner.nodes, "links": links, "inputs": [], "outputs": [{"name": "IMAGE"}]}
    ui = Ui(object_info)
    instance = ui.node("box", [], outputs=[{"name": "IMAGE", "type": "IMAGE"}])
    ui.link(instance, ui.node("SaveImage", ["a"]), "images")
    path = write(ui.json(definitions={"subgraphs": [box]}))
    assert imagen(capsys, "run", path)[0] == 0 and imagen(capsys, "run", path, "--seed", 3)[0] == 0
    assert carried("output/a_00001_.png")[1] is not None and carried("output/a_00002_.png")[1] is None
    assert carried("output/a_00002_.png")[0]["1:11"]["inputs"]["seed"] == 3


def test_a_picture_may_be_named_by_its_path(capsys):
    Image.new("RGB", (3, 2), "red").save("photo.png")
    assert imagen(capsys, "run", write(copy_of("none.png")), "--set", "LoadImage.image=photo.png")[0] == 0
    assert Image.open("output/a_00001_.png").getpixel((0, 0)) == (255, 0, 0)


def test_previews_leave_nothing_behind(capsys):
    prompt = graph() | {"3": entry("PreviewImage", images=["2", 0])}
    code, out, _ = imagen(capsys, "run", write(prompt))
    assert (code, out, left_behind("output")) == (0, "", [])


def test_pixels_that_are_no_numbers_are_warned_about(capsys):
    prompt = link_from(["4", 0]) | {"4": entry("Holes", image=["2", 0])}
    code, _, err = imagen(capsys, "run", write(prompt))
    assert code == 0 and "warning: 3 of 72 pixel values are not finite" in err and "Traceback" not in err


def test_a_run_reads_each_class_of_its_graph_once_and_no_other(capsys, registry, object_info, monkeypatch):
    read = []
    for kind, cls in registry.classes.items():
        inputs = cls.INPUT_TYPES
        monkeypatch.setattr(cls, "INPUT_TYPES", staticmethod(lambda k=kind, i=inputs: read.append(k) or i()))
    saved = ui_graph(object_info)
    code, out, _ = imagen(capsys, "run", write(saved), "--seed", "7", "--set", "SaveImage.filename_prefix=b")
    assert code == 0 and out.endswith("b_00001_.png\n")
    assert sorted(read) == ["ImagenTextEncode", "Picture", "SaveImage"]


def test_a_node_kept_from_running_is_told_and_the_rest_is_saved(capsys):
    prompt = graph() | {"4": entry("Block", value=51), "5": entry("Show", value=["4", 0])}
    code, out, err = imagen(capsys, "run", write(prompt))
    assert code == 1 and out.endswith("a_00001_.png\n")
    assert err.splitlines()[-1].startswith("error: node 5 (Show) failed: RuntimeError: execution blocked: no")


WRONG_FILES = {
    "is empty": "",
    "is not JSON": "{broken",
    "that is no workflow": "[1, 2]",
    "holds an object that is no workflow": "{}",
    "holds a single value": "3",
    "levels deep": "[" * 100_000 + "]" * 100_000,
    "100 levels deep": "[" * 500 + "]" * 500,
    "key '1' appears twice": '{"1": {"class_type": "Show"}, "1": {"class_type": "Show"}}',
    "carries no workflow": None,
    "node 2 'Base 0.5' (Picture): a value is not a finite number: width: nan": graph(width=float("nan")),
    "node 2 'Base 0.5' (Picture): a value is not a finite number: seconds_per_step: inf": graph(
        seconds_per_step=float("inf")
    ),
    "a value is too small: width: 0 is less than 1": graph(width=0),
    "unknown class 'Imagine'": graph() | {"4": entry("Imagine")},
    "a link leads to a node that is missing: images: node 8": link_from(["8", 0]),
    "a link leads to an output that is missing": link_from(["2", 4]),
    "images: received STRING, expected IMAGE": link_from(["1", 0]),
    "depends on its own output: 4 -> 5 -> 4": link_from(["4", 0])
    | {"4": entry("Holes", image=["5", 0]), "5": entry("Holes", image=["4", 0])},
    "a required input is missing: connect or set images": graph() | {"3": entry("SaveImage", filename_prefix="a")},
    "nothing in this workflow has an output": {"1": entry("Number", value=1)},
    "leads out of": graph() | {"3": entry("SaveImage", images=["2", 0], filename_prefix="../a")},
    "node 7 has no class_type": graph() | {"7": 5},
}


@pytest.mark.parametrize("message", WRONG_FILES)
def test_a_wrong_workflow_is_explained_in_a_line(capsys, message):
    content = WRONG_FILES[message]
    name = "graph.png" if content is None else write(content)
    if content is None:
        Image.new("RGB", (1, 1)).save(name)
    code, out, err = imagen(capsys, "run", name)
    assert (code, out) == (2, "") and message in err and "Traceback" not in err
    assert all(line.startswith("error: ") for line in err.splitlines())
    assert left_behind("output") == []


def test_a_damaged_png_and_a_file_of_bytes(capsys, object_info):
    imagen(capsys, "run", write(ui_graph(object_info)))
    Path("half.png").write_bytes(Path("output/a_00001_.png").read_bytes()[:60])
    Path("bytes.json").write_bytes(bytes(range(256)))
    for name in ("half.png", "bytes.json"):
        code, _, err = imagen(capsys, "run", name)
        assert code == 2 and name in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "Picture.wdth=3"], "did you mean 'width'"),
        (["--set", "Pictures.width=3"], "no node 'Pictures': there are 1 (Prompt)"),
        (["--set", "Picture.width"], "expected NODE.INPUT=VALUE"),
        (["--set", "Picture.width=wide"], "'wide' is no INT"),
        (["--set", "SaveImage.images=3"], "takes a link of type IMAGE"),
        (["--set", "Picture.width=0"], "width: 0 is less than 1"),
        (["--seed", "-1"], "seed: -1 is less than 0"),
        (["--seed", "x"], "invalid int value"),
    ],
)
def test_a_wrong_option_is_explained(capsys, options, message):
    code, out, err = imagen(capsys, "run", write(graph()), *options)
    assert (code, out) == (2, "") and message in err and left_behind("output") == []


def test_an_option_without_a_place_to_go_is_an_error(capsys):
    Image.new("RGB", (3, 2)).save("photo.png")
    path = write(copy_of("photo.png"))
    for option in ("--prompt", "--negative", "--seed"):
        code, _, err = imagen(capsys, "run", path, option, "3")
        assert code == 2 and option in err


def test_a_name_that_fits_two_nodes_lists_their_ids(capsys):
    code, _, err = imagen(capsys, "run", write(graph() | {"4": entry("Picture")}), "--set", "Picture.width=3")
    assert code == 2 and "2, 4" in err


def test_a_missing_picture_and_a_missing_workflow(capsys, workplace):
    path = write(copy_of("x.png"))
    code, _, err = imagen(capsys, "run", path)
    assert code == 2 and f"no file 'x.png' in {workplace}/input" in err
    for name in ("nowhere", "x" * 5000, str(workplace), "a\0b"):
        assert imagen(capsys, "run", name)[0] == 2


@pytest.mark.parametrize("out", ["file", "file/sub", "/proc/nothing", "bad\0name"])
def test_an_output_folder_that_cannot_be_written_is_found_before_the_run(capsys, out):
    Path("file").write_text("mine")
    code, _, err = imagen(capsys, "run", write(graph()), "--out", out)
    assert code == 2 and "nodes may print" not in err and "Traceback" not in err
    assert Path("file").read_text() == "mine"


def test_a_failing_node_is_named_with_its_reason(capsys):
    broken = {"4": entry("Number", value=1), "5": entry("Broken", value=["4", 0], title="Bad")}
    path = write(graph() | broken | {"6": entry("Show", value=["5", 0])})
    code, out, err = imagen(capsys, "run", path, "--quiet")
    assert code == 1 and "error: node 5 'Bad' (Broken) failed: RuntimeError: the disk is on fire" in err
    assert "Traceback" not in err
    assert out.splitlines() == [str(path) for path in Path("output").absolute().iterdir()]
    assert "Traceback" in imagen(capsys, "run", path, "--debug")[2]


def test_a_full_disk_is_reported_and_leaves_no_half_file(capsys):
    path = write(graph(width=200, height=200))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        code, _, err = imagen(capsys, "run", path, "--quiet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 1 and "node 3 (SaveImage) failed: OSError" in err and left_behind("output") == []


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_at_once_and_leaves_nothing(sent, tmp_path):
    path = write(graph(steps=1000, seconds_per_step=0.05))
    (tmp_path / "tmp").mkdir()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TMPDIR": str(tmp_path / "tmp"),
    }
    command = [sys.executable, "-m", "imagen_host", "run", path]
    heed = lambda: signal.signal(sent, signal.SIG_DFL)  # a test run in a shell's background inherits that it is ignored
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, preexec_fn=heed
    )
    seen = b""
    while b"Base 0.5" not in seen:  # the first bar: the node is running
        seen += process.stderr.read(1)
    process.send_signal(sent)
    out, err = process.communicate(timeout=600)
    assert process.returncode == {signal.SIGINT: 130}.get(sent, 128 + sent)
    assert out == b"" and b"Traceback" not in err and err.endswith(b"stopped\n")
    assert left_behind("output") == [] and list((tmp_path / "tmp").iterdir()) == []


def test_lists_and_versions(capsys, workplace):
    code, out, _ = imagen(capsys, "nodes")
    assert code == 0 and "Picture" in out and "SaveImage" in out
    assert "Picture" in json.loads(imagen(capsys, "nodes", "--json")[1])
    assert imagen(capsys, "--version")[1].startswith("imagen-nodes ")
    assert imagen(capsys, "workflows")[:2] == (0, "")


def test_shipped_workflows_are_found_by_name(capsys, monkeypatch):
    monkeypatch.delenv("IMAGEN_PACK")
    out = imagen(capsys, "workflows")[1]
    assert "text_to_image_1024" in out
    prompt = json.loads(imagen(capsys, "convert", "text_to_image_64")[1])
    assert any(node["class_type"] == "ImagenBaseSample64" for node in prompt.values())


def test_convert_prints_the_prompt(capsys, object_info):
    code, out, _ = imagen(capsys, "convert", write(ui_graph(object_info)))
    assert code == 0 and json.loads(out)["1"]["inputs"] == {"text": "linked", "negative_text": "fog"}


def test_convert_turns_weights_into_safetensors(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("IMAGEN_PACK")
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    code, out, _ = imagen(capsys, "convert", str(tmp_path / "w.pt"), "--flag", "num_heads=4")
    assert code == 0 and out.strip() == str(tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert file.metadata() == {"num_heads": "4"} and torch.equal(file.get_tensor("a"), torch.ones(2))
    for arguments, word in (
        ([str(tmp_path / "w.pt")], "is there already"),
        ([str(tmp_path / "gone.pt")], "no file at"),
        ([str(tmp_path / "w.pt"), "--flag", "num_heads"], "expected NAME=VALUE"),
        (["text_to_image_64", "--out", "x"], "are for weights"),
    ):
        code, _, said = imagen(capsys, "convert", *arguments)
        assert code == 2 and word in said


def test_help_needs_no_torch():
    code = "import sys; from imagen_host.cli import main\ntry: main(['--help'])\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False" and "run a workflow" in done.stdout


def test_no_arguments_and_unknown_commands(capsys):
    assert imagen(capsys)[0] == 2 and imagen(capsys, "fly")[0] == 2
