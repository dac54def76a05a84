"""Do all graphs that 0.1 shipped still mean what they meant? `saved_graphs/0.1` holds them, as people saved them since.

That they draw the same pictures too, to the last bit, is for benchmarks/same_pictures.py to say, which needs 0.1's code.
"""

import importlib
import json
import sys
from pathlib import Path

import pytest

from imagen_host.graphs.workflow import workflow_to_prompt
from imagen_host.registry import Registry, load_pack, load_registry, pack_folder
from imagen_host.validation import validate

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "saved_graphs" / "0.1"
NAMES = sorted(path.name.removesuffix(".api.json") for path in FOLDER.glob("*.api.json"))
FILES = {"checkpoint", "text_encoder"}  # inputs that name what is not shipped: DeepFloyd IF's weights and its T5


def read(name):
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def registry():
    return load_registry()


@pytest.fixture(scope="module")
def known(registry):
    """The embedded host's nodes, those of ours that only ComfyUI runs, and what the graphs have of its own."""
    sys.path.insert(0, str(ROOT / "workflows"))
    theirs = importlib.import_module("_comfyui_nodes").object_info()
    ours = importlib.import_module(".nodes", load_pack(pack_folder()).__name__).ALL_NODES
    return theirs | Registry(classes=ours).object_info() | registry.object_info()


@pytest.mark.parametrize("name", NAMES)
def test_a_graph_of_0_1_opens_with_its_nodes_and_values(name, known):
    """Each input has the value it had, and what our nodes have got since stands at its default."""
    before, graph = read(f"{name}.api.json"), read(f"{name}.json")
    prompt = workflow_to_prompt(graph, known)
    for key, entry in before.items():
        now = prompt[key]
        assert now["class_type"] == entry["class_type"]
        assert {input_: now["inputs"].get(input_) for input_ in entry["inputs"]} == entry["inputs"], now["class_type"]
        declared = dict(item for section in known[now["class_type"]]["input"].values() for item in section.items())
        for added in now["inputs"].keys() - entry["inputs"].keys():
            options = declared[added][1]
            assert now["inputs"][added] == options.get("default", options.get("options", [None])[0]), added


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_of_0_1_passes_the_checks(name, registry):
    prompt = read(f"{name}.api.json")
    if any(entry["class_type"] not in registry.classes for entry in prompt.values()):
        pytest.skip("it has nodes of ComfyUI's own")
    found = validate(prompt, registry)
    told = [error for node in found.node_errors.values() for error in node["errors"]]
    missing = [error for error in told if error["extra_info"].get("input_name") in FILES]
    assert told == missing and (found.outputs or missing)
    assert bool(missing) == name.startswith("deepfloyd")
