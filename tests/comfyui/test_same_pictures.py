"""Do the shipped graphs draw in the real ComfyUI what the embedded host draws, pixel for pixel?

Both hosts run in the same interpreter, and so with the same torch.
"""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image
from real_server import PYTHON, ROOT

PROMPTS = sorted(path.stem for path in (ROOT / "workflows" / "api").glob("*.json"))
QUICK = {"ImagenBaseSample64": {"steps": 2, "batch_size": 1}, "ImagenSuperRes": {"steps": 1}, "KSampler": {"steps": 2}}


def quick(name):
    """A shipped prompt with few steps, and an output folder of its own: counters in file names begin at 1."""
    prompt = json.loads((ROOT / "workflows" / "api" / f"{name}.json").read_text(encoding="utf-8"))
    for node in prompt.values():
        for key, value in QUICK.get(node["class_type"], {}).items():
            if not isinstance(node["inputs"].get(key), list):  # a link stays a link
                node["inputs"][key] = value
        if node["class_type"] == "SaveImage":
            node["inputs"]["filename_prefix"] = f"same_pictures/{node['inputs']['filename_prefix']}"
    return prompt


def missing(server, prompt):
    """Files that the prompt names and that are not there: weights that do not ship."""
    absent = []
    for node in prompt.values():
        required = server.get(f"/object_info/{node['class_type']}")[node["class_type"]]["input"].get("required", {})
        for key, value in node["inputs"].items():
            choices = required.get(key, [None])[0]
            if isinstance(choices, list) and isinstance(value, str) and value not in choices:
                absent.append(value)
    return absent


def drawn_by_embedded_host(prompt, folder):
    """The output folder of a run, or None where the embedded host lacks a node."""
    path = folder / "prompt.json"
    path.write_text(json.dumps(prompt))
    command = [PYTHON, "-m", "imagen_host", "run", str(path), "--out", str(folder / "output"), "--json", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode and "ComfyUI" in done.stderr:
        return None
    assert done.returncode == 0, done.stderr
    return folder / "output"


@pytest.mark.parametrize("name", PROMPTS)
def test_a_shipped_graph_draws_the_same_picture(server, tmp_path, name):
    prompt = quick(name)
    if absent := missing(server, prompt):
        pytest.skip(f"these weights do not ship: {', '.join(absent)}")
    run = server.run(prompt)
    assert run.end == "execution_success", run.of("execution_error")
    saved = [
        image["subfolder"] + "/" + image["filename"]
        for output in run.outputs.values()
        for image in output.get("images", [])
        if image["type"] == "output"
    ]
    assert saved
    expected = drawn_by_embedded_host(prompt, tmp_path)
    if expected is None:
        return
    assert {path.relative_to(expected).as_posix() for path in expected.rglob("*.png")} == set(saved)
    for relative in saved:
        here, there = (np.asarray(Image.open(folder / relative)) for folder in (server.base / "output", expected))
        assert np.array_equal(here, there), f"{relative}: {(here != there).mean():.2%} of the values differ"
