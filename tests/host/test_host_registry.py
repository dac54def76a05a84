"""Is a pack loaded the way ComfyUI loads it, and described the way its editor expects?"""

import json
import subprocess
import sys

import pytest
from host_graphs import PACK

from imagen_host import runtime
from imagen_host.declared import InputSpec
from imagen_host.registry import load_pack, load_registry


def test_the_pack_is_a_module_named_after_its_path():
    module = load_pack(PACK)
    assert module.__name__ == str(PACK).replace(".", "_x_") and sys.modules[module.__name__] is module


def test_object_info_survives_json(object_info):
    assert json.loads(json.dumps(object_info, allow_nan=False)) == object_info


def test_a_description(object_info):
    info = object_info["Pick"]
    assert info["input_order"] == {"required": ["use_a"], "optional": ["a", "b"], "hidden": []}
    assert info["input"]["required"]["use_a"] == ["BOOLEAN", {"default": True}]
    assert (info["output"], info["output_is_list"], info["output_name"]) == (["INT"], [False], ["INT"])
    assert (info["output_node"], info["category"], info["python_module"]) == (False, "tiny", "custom_nodes.tiny_pack")
    assert object_info["Number"]["display_name"] == "A Number" and object_info["Show"]["output_node"] is True
    assert object_info["Gather"]["is_input_list"] is True and info["is_input_list"] is False
    assert info["has_intermediate_output"] is False and "essentials_category" not in info
    assert object_info["LoadImage"]["output"] == ["IMAGE", "MASK"] and object_info["LoadImage"]["output_tooltips"]


@pytest.mark.parametrize("name", ["SaveImage", "PreviewImage"])
def test_what_keeps_pictures_hands_them_on(object_info, name):
    info = object_info[name]
    assert (info["output"], info["output_name"], info["output_node"]) == (["IMAGE"], ["images"], True)


def test_infinite_limits_are_left_out(registry, monkeypatch):
    spec = {"required": {"a": ("FLOAT", {"min": -float("inf"), "max": 1.0})}}
    monkeypatch.setattr(registry.classes["Number"], "INPUT_TYPES", classmethod(lambda cls: spec))
    assert registry.describe("Number")["input"]["required"]["a"] == ["FLOAT", {"max": 1.0}]


def test_a_snapshot_reads_a_class_once_and_the_registry_anew(registry, monkeypatch):
    spec = {"required": {"name": (["a"],)}}
    monkeypatch.setattr(registry.classes["Number"], "INPUT_TYPES", classmethod(lambda cls: dict(spec)))
    snapshot = registry.snapshot()
    assert [snapshot.declared("Number").inputs["name"].choices, snapshot.snapshot() is snapshot] == [["a"], True]
    spec["required"] = {"name": (["a", "b"],)}
    assert snapshot.describe("Number")["input"]["required"]["name"] == [["a"]]
    assert registry.describe("Number")["input"]["required"]["name"] == [["a", "b"]]


def test_what_has_a_widget():
    with_one = [["INT", {}], [["a"]], ["COMBO", {"options": []}], ["X", {"widgetType": "INT"}]]
    without = [["IMAGE"], ["INT", {"forceInput": True}], [["a"], {"forceInput": True}]]
    assert all(InputSpec("a", spec, True).is_widget for spec in with_one)
    assert not any(InputSpec("a", spec, True).is_widget for spec in without)


def test_a_run_reads_only_the_classes_of_its_graph_and_each_once(registry, monkeypatch):
    reads = []
    for name in ("Number", "Add", "Show"):
        cls = registry.classes[name]
        read = cls.INPUT_TYPES
        monkeypatch.setattr(cls, "INPUT_TYPES", classmethod(lambda cls, n=name, r=read: reads.append(n) or r()))
    one = registry.snapshot()
    classes = one.node_classes()
    assert classes["Number"].inputs["value"] is one.declared("Number").inputs["value"]
    assert "Add" in classes and "value" in one.declared("Number").inputs and reads == ["Number"]


def test_a_folder_without_a_pack_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no node pack"):
        load_registry(tmp_path)


def test_a_pack_that_fails_to_load_is_not_half_there(tmp_path):
    (tmp_path / "__init__.py").write_text("NODE_CLASS_MAPPINGS = {}\nraise OSError('no')")
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            load_registry(tmp_path)


def test_our_own_pack_loads_with_every_node_described():
    registry = load_registry(runtime.PACK_ROOT)
    assert {"ImagenLoadUNet", "ImagenBaseSample64", "SaveImage"} <= set(registry.object_info())


@pytest.mark.parametrize("module", ["imagen_host.runtime", "imagen_host.cli"])
def test_importing_stays_cheap(module):
    code = f"import sys, {module}; print([m for m in ('torch', 'numpy', 'PIL', 'tqdm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=runtime.PACK_ROOT, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
