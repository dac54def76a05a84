"""Does the pack behave in the real ComfyUI: progress and previews at each step, stopping, manners, other packs beside it?"""

import json
import re
import time

import numpy as np
import real_server
from PIL import Image
from real_server import ROOT

SAMPLER = "5"  # the base sampler's id in text_to_image_64


def base_prompt(**changes):
    prompt = json.loads((ROOT / "workflows" / "api" / "text_to_image_64.json").read_text(encoding="utf-8"))
    assert prompt[SAMPLER]["class_type"] == "ImagenBaseSample64"
    prompt[SAMPLER]["inputs"] |= {"steps": 3, "batch_size": 1, **changes}
    return prompt


def picture(server, run):
    image = next(image for output in run.outputs.values() for image in output.get("images", []))
    return np.asarray(Image.open(server.base / "output" / image["subfolder"] / image["filename"]))


def test_progress_and_a_preview_at_each_step(server):
    run = server.run(base_prompt(steps=5, seed=11))
    assert run.end == "execution_success", run.of("execution_error")
    progress = [said["value"] for said in run.of("progress") if said["node"] == SAMPLER]
    assert progress == [1, 2, 3, 4, 5]
    assert len([preview for preview in run.previews if b"\xff\xd8\xff" in preview[:400]]) == 5  # JPEGs


def test_it_stops_when_asked_and_draws_again(server):
    seen = []

    def stop_at_the_second(kind, data):
        if kind != "progress" or data["node"] != SAMPLER:
            return None
        seen.append(data["value"])
        return "/interrupt" if data["value"] == 2 else None

    run = server.run(base_prompt(steps=1000, seed=12), stop_at_the_second)
    assert run.end == "execution_interrupted"
    assert len(seen) <= 200, "steps end while the request travels, but not most of a thousand"
    assert server.run(base_prompt(seed=12)).end == "execution_success"


def test_a_graph_of_0_1_draws_by_what_took_its_weights_place(server):
    """ComfyUI checks that a value is in a node's list: a name that ships no longer has to count as listed."""
    saved = json.loads((ROOT / "tests/saved_graphs/text_to_image_64_of_0_1.api.json").read_text(encoding="utf-8"))
    named = [node["inputs"] for node in saved.values()]
    assert {"imagen-mini/base64.safetensors", "imagen-mini/text_encoder"} <= {
        value for inputs in named for value in inputs.values() if isinstance(value, str)
    }
    for inputs in named:
        inputs |= {key: few for key, few in {"steps": 2, "batch_size": 1}.items() if key in inputs}
    run = server.run(saved)
    assert run.end == "execution_success", run.of("execution_error")
    assert picture(server, run).std() > 1


def test_freed_when_asked_and_loaded_again(server):
    before = server.run(base_prompt(seed=13))
    for patience in (1.5, 10, 30):  # the server's worker looks at the request when it has nothing to do
        server.post("/free", {"unload_models": True, "free_memory": True})
        time.sleep(patience)
        after = server.run(base_prompt(seed=13))
        kept = after.of("execution_cached")[0]["nodes"]
        if not kept:
            break
    assert kept == []
    assert np.array_equal(picture(server, before), picture(server, after))


def test_a_stage_in_the_wrong_node_is_an_error_on_the_node(server):
    prompt = base_prompt()
    prompt["4"]["inputs"] = {"checkpoint": "imagen-mini/sr256.safetensors"}
    run = server.run(prompt)
    assert run.end == "execution_error"
    said = run.of("execution_error")[0]
    assert (said["node_id"], said["exception_type"]) == (SAMPLER, "ValueError")
    assert "base64" in said["exception_message"]


def test_at_most_one_line_is_printed_at_import(server):
    starting = server.log.read_text().partition("Starting server")[0]
    ours = [line for line in starting.splitlines() if "imagen" in line.lower()]
    assert not any("FAILED" in line or "Traceback" in line for line in ours)
    assert len([line for line in ours if "seconds:" not in line]) <= 1  # that line is ComfyUI's, of every pack


def test_every_node_is_there_and_belongs_to_the_pack(server):
    listed = {name: info for name, info in server.get("/object_info").items() if name.startswith("Imagen")}
    assert {"ImagenBaseSample64", "ImagenToModel", "ImagenThresholdModel"} <= set(listed)
    assert {info["python_module"] for info in listed.values()} == {"custom_nodes.imagen-nodes"}


def test_help_pages_and_thumbnails_are_served(server):
    for node in ("ImagenTextEncode", "ImagenThreshold", "ImagenBaseSample64", "ImagenSuperRes"):
        page = server.get(f"/extensions/imagen-nodes/docs/{node}.md").decode()
        pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", page)
        assert pictures, node
        for name in pictures:
            assert server.get(f"/extensions/imagen-nodes/docs/{name}")[:3] == b"\xff\xd8\xff", name
    with_picture = {path.stem for path in (ROOT / "workflows").glob("*.jpg")}
    assert {"text_to_image_1024", "imagen_native_ksampler"} <= with_picture
    assert with_picture <= set(server.get("/workflow_templates")["imagen-nodes"])
    for name in with_picture:
        assert server.get(f"/api/workflow_templates/imagen-nodes/{name}.jpg")[:3] == b"\xff\xd8\xff"


def write_pack(folder, name, code, **files):
    pack = folder / name
    pack.mkdir()
    (pack / "__init__.py").write_text(code)
    for path, content in files.items():
        (pack / f"{path}.py").write_text(content)
    return pack


SHADOW = """
import os, sys
sys.path.insert(0, os.path.dirname(__file__))  # as packs do, so that their own absolute imports work
import imagen_core, imagen_host  # this pack's, which stay in sys.modules
saved = sys.modules.pop("nodes")
import nodes  # and this pack's, for a while
assert nodes.WHOSE == imagen_core.WHOSE == "shadow"
sys.modules["shadow_nodes"], sys.modules["nodes"] = nodes, saved
NODE_CLASS_MAPPINGS = {}
"""
PATCHES = """
import comfy.model_management, comfy.samplers, comfy.utils, torch
calls = []

def counted(module, name):
    original = getattr(module, name)
    def patched(*args, **kwargs):
        if name not in calls:
            calls.append(name)
            print(f"patched {name} was called", flush=True)
        return original(*args, **kwargs)
    setattr(module, name, patched)

counted(comfy.model_management, "load_models_gpu")
counted(comfy.samplers, "sampling_function")
counted(comfy.samplers, "sample")
counted(torch.nn.functional, "scaled_dot_product_attention")
comfy.samplers.KSAMPLER.sample = None  # a broken one: ours does not go through it
NODE_CLASS_MAPPINGS = {}
"""


def test_beside_a_pack_that_shadows_modules_and_one_that_patches_samplers(server, tmp_path):
    packs = tmp_path / "packs"
    packs.mkdir()
    mine = 'WHOSE = "shadow"\n'
    shadow = write_pack(packs, "a_shadow", SHADOW, nodes=mine, imagen_core=mine, imagen_host=mine)
    patches = write_pack(packs, "b_patches", PATCHES)
    alone = server.run(base_prompt(seed=14))
    with real_server.comfyui(tmp_path / "base", shadow, patches) as crowded:
        failed = [line for line in crowded.log.read_text().splitlines() if "FAILED" in line and "custom_nodes" in line]
        assert failed == []
        run = crowded.run(base_prompt(seed=14))
        assert run.end == "execution_success", run.of("execution_error")
        assert np.array_equal(picture(server, alone), picture(crowded, run))
        assert "patched load_models_gpu was called" in crowded.log.read_text(), "we go through what others patch"
