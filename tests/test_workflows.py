"""Are the shipped graphs in step with the nodes, readable on a canvas, and do they draw on the shipped weights?"""

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from imagen_core import resize
from imagen_host.cli import main
from imagen_host.graphs.workflow import workflow_to_prompt

ROOT = Path(__file__).resolve().parent.parent
NAMES = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))


@pytest.fixture(scope="module")
def built():
    spec = importlib.util.spec_from_file_location("build_workflows", ROOT / "workflows" / "build.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.build()


def test_an_embedding_goes_from_prior_and_picture_to_the_base(built):
    """By way of an image prompt, which is given a picture or what a prior drew."""
    assert built
    module, known = sys.modules["graphs_unclip"], sys.modules["build_workflows"].object_info()
    for lay_out in module.GRAPHS:
        graph = sys.modules["build_workflows"].Graph(known)
        lay_out(graph)
        prompt = workflow_to_prompt(graph.to_json(lay_out.__name__, lay_out.__doc__), known)
        by_class = {entry["class_type"]: entry["inputs"] for entry in prompt.values()}
        assert prompt[by_class["ImagenBaseSample64"]["control"][0]]["class_type"] == "ImagenImagePrompt"
        told = by_class["ImagenImagePrompt"]
        source = told.get("image_embed") or told["image"]
        assert prompt[source[0]]["class_type"] in ("ImagenMixEmbeds", "ImagenExamplePicture")


def test_a_hole_is_filled_by_weights_that_see_the_rest(built):
    """The picture and mask of mini_inpaint, without RePaint."""
    assert built
    module, known = sys.modules["graphs_mini"], sys.modules["build_workflows"].object_info()
    told = {}
    for lay_out in (module.mini_inpaint, module.mini_inpaint_trained):
        graph = sys.modules["build_workflows"].Graph(known)
        lay_out(graph)
        prompt = workflow_to_prompt(graph.to_json(lay_out.__name__, lay_out.__doc__), known)
        drawn = next(entry["inputs"] for entry in prompt.values() if entry["class_type"] == "ImagenBaseSample64")
        told[lay_out] = drawn | {name: prompt[drawn[name][0]]["inputs"] for name in ("unet", "init_image", "mask")}
    repaint, trained = told.values()
    assert trained["unet"]["checkpoint"] == "imagen-mini/things64_inpaint.safetensors"
    assert trained["mask"] == repaint["mask"] and trained["init_image"] == repaint["init_image"]
    assert trained["resample"] == 1 < repaint["resample"]


def test_one_individual_is_asked_for_in_every_scene(built):
    """The same picture and identity, other words and key points."""
    assert built
    module, known = sys.modules["graphs_identity"], sys.modules["build_workflows"].object_info()
    for lay_out in module.GRAPHS:
        graph = sys.modules["build_workflows"].Graph(known)
        lay_out(graph)
        prompt = workflow_to_prompt(graph.to_json(lay_out.__name__, lay_out.__doc__), known)
        told = [entry["inputs"] for entry in prompt.values() if entry["class_type"] == "ImagenIdentity"]
        drawn = [entry["inputs"] for entry in prompt.values() if entry["class_type"] == "ImagenBaseSample64"]
        assert len(told) == len(drawn) == len(module.SCENES)
        assert len({(tuple(each["image"]), tuple(each["identity"])) for each in told}) == 1
        assert {prompt[each["key_points"][0]]["class_type"] for each in told} == {"ImagenKeyPoints"}
        assert {prompt[each["control"][0]]["class_type"] for each in drawn} == {"ImagenIdentity"}
        assert {prompt[each["text"][0]]["inputs"]["text"] for each in drawn} == {w for w, _ in module.SCENES.values()}
        assert (ROOT / "input" / prompt[told[0]["image"][0]]["inputs"]["image"].rpartition("/")[2]).is_file()
        assert lay_out.__name__ in NAMES


def test_few_calls_are_drawn_without_guidance_behind_their_lora():
    prompt = read("api/text_to_image_fast.json")
    drawn = next(entry["inputs"] for entry in prompt.values() if entry["class_type"] == "ImagenBaseSample64")
    lora = prompt[drawn["unet"][0]]
    assert lora["class_type"] == "ImagenLoadLoRA" and lora["inputs"]["strength"] == 1.0
    with safe_open(ROOT / "models" / lora["inputs"]["lora_name"], "pt") as file:
        said = json.loads(file.metadata()["defaults"])
    asked = {name: drawn[name] for name in ("guidance_scale", "steps", "sampler", "spacing")}
    assert asked == {"guidance_scale": 1.0, "steps": 4, "sampler": "ddim", "spacing": "uniform"}
    assert {name: asked[name] for name in said} == said, "as its file says that it wants to be drawn with"


def read(name):
    return json.loads((ROOT / "workflows" / name).read_text(encoding="utf-8"))


def test_the_promised_graphs_ship():
    promised = {
        "text_to_image_64",
        "text_to_image_1024",
        "super_resolve_photo",
        "thresholding_compared",
        "aug_level_sweep",
    }
    assert promised <= set(NAMES)


@pytest.fixture(scope="module")
def blueprints(built):
    return sys.modules["build_workflows"].build_blueprints()


def test_blueprints_are_what_the_builder_writes(blueprints):
    written = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / "subgraphs").glob("*.json")}
    assert written == json.loads(json.dumps(blueprints)), "run `make workflows` and commit what it wrote"


def test_a_graph_with_a_blueprint_runs_what_is_inside(blueprints):
    """A picture, the blueprint, Save Image: the inside's nodes, with its settings and what the face was given."""
    known = sys.modules["build_workflows"].object_info()
    for name, wrapped in blueprints.items():
        (instance,), (definition,) = wrapped["nodes"], wrapped["definitions"]["subgraphs"]
        save = {
            "id": 99,
            "type": "SaveImage",
            "inputs": [{"name": "images", "type": "IMAGE", "link": 1}],
            "outputs": [],
        }
        load = {"id": 98, "type": "LoadImage", "inputs": [], "widgets_values": ["a.png", "image"]}
        load["outputs"] = [
            {"name": "IMAGE", "type": "IMAGE", "links": [2]},
            {"name": "MASK", "type": "MASK", "links": []},
        ]
        links = [[1, instance["id"], 0, 99, 0, "IMAGE"], [2, 98, 0, instance["id"], 0, "IMAGE"]]
        takes = instance["inputs"][0]["type"] == "IMAGE"
        instance = {
            **instance,
            "inputs": [{**instance["inputs"][0], "link": 2 if takes else None}, *instance["inputs"][1:]],
        }
        nodes = [load, instance, {**save, "widgets_values": ["x"]}]
        graph = {**wrapped, "nodes": nodes, "links": links if takes else links[:1]}
        prompt = workflow_to_prompt(graph, known)
        inner = [entry for key, entry in prompt.items() if ":" in key]
        assert sorted(entry["class_type"] for entry in inner) == sorted(node["type"] for node in definition["nodes"]), (
            name
        )
        for entry in inner:
            required = known[entry["class_type"]]["input"]["required"]
            assert set(required) <= set(entry["inputs"]), f"{name}: {entry['_meta']['title']} lacks an input"
        drawn = prompt[prompt["99"]["inputs"]["images"][0]]["inputs"]
        assert drawn["steps"] == 2 and drawn["aug_level"] == 0.0, "as it is set inside"


def test_files_are_what_the_builder_writes(built):
    written = {path.relative_to(ROOT / "workflows").as_posix() for path in (ROOT / "workflows").rglob("*.json")}
    assert written == set(built)
    stale = [name for name, content in built.items() if read(name) != json.loads(json.dumps(content))]
    assert stale == [], "run `make workflows` and commit what it wrote"


@pytest.mark.parametrize("name", NAMES)
def test_links_name_real_slots_on_both_ends(name):
    graph = read(f"{name}.json")
    nodes = {node["id"]: node for node in graph["nodes"]}
    for link_id, origin, origin_slot, target, target_slot, kind in graph["links"]:
        assert link_id in nodes[origin]["outputs"][origin_slot]["links"]
        assert nodes[target]["inputs"][target_slot]["link"] == link_id
        assert kind in (nodes[target]["inputs"][target_slot]["type"], "*")
        assert nodes[origin]["pos"][0] <= nodes[target]["pos"][0], "a graph reads left to right"


@pytest.mark.parametrize("name", NAMES)
def test_nodes_do_not_lie_on_each_other(name):
    boxes = [(*node["pos"], *node["size"]) for node in read(f"{name}.json")["nodes"]]
    for i, (x, y, w, h) in enumerate(boxes):
        for u, v, s, t in boxes[:i]:
            assert x >= u + s or u >= x + w or y >= v + t + 30 or v >= y + h + 30


@pytest.fixture
def imagen(tmp_path, monkeypatch, capsys):
    """Run the command in this process, in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def drawn_by(imagen, target, *changes):
    """The pictures' paths, once `target` was run with these changes."""
    sets = [part for change in changes for part in ("--set", change)]
    code, report, said = imagen("run", target, *sets, "--out", ".", "--json", "--quiet")
    assert code == 0, said
    return json.loads(report)["images"]


# Fewer steps than shipped: these tests ask whether the graph runs; `imagen evaluate` asks how good the pictures are.
QUICK = {
    "text_to_image_64": ["ImagenBaseSample64.steps=2", "ImagenBaseSample64.batch_size=1"],
    "text_to_image_1024": ["Base 64x64.steps=2", "Super resolution 256.steps=1", "Super resolution 1024.steps=1"],
    "text_to_image_fast": ["Super resolution 256.steps=1"],
    "text_to_image_app": ["Base 64x64.steps=1", "Super resolution 256.steps=1", "Super resolution 1024.steps=1"],
    "super_resolve_photo": ["Super resolution 256.steps=1", "Super resolution 1024.steps=1"],
    "super_resolve_photo_4096": ["Super resolution 1024.factor=1", "Super resolution 1024.steps=1",
                                 "Super resolution 4096.steps=1", "Super resolution 4096.tile_size=512"],
    "thresholding_compared": [f"{size}, {method}.steps=1" for size in ("Base 64x64", "256x256") for method in
                              ("none", "static", "dynamic")],
    "identity_three_scenes": [f"{size}, {scene}.steps={steps}" for size, steps in (("Base 64x64", 2), ("256x256", 1)) for
                              scene in ("in the snow", "by the sea", "on pink")],
    "aug_level_sweep": ["Base 64x64.steps=2", *(f"Super resolution, {level}.steps=1" for level in (0.0, 0.05, 0.1, 0.25))],
    "edges_to_picture_1024": ["Base 64x64.steps=1", "Super resolution 256.steps=1", "Super resolution 1024.steps=1"],
    "palette_and_edges": ["Base 64x64.steps=1", "Super resolution 256.steps=1"],
    "sketch_to_picture": ["Base 64x64.steps=1", "Super resolution 256.steps=1", "Super resolution 1024.steps=1"],
    "mini_img2img": ["Base 64x64.steps=2", "Super resolution 256.steps=1"],
    "clip_best_of_four": ["Base 64x64.steps=1", "Super resolution 256.steps=1", "Super resolution 1024.steps=1",
                          "Super resolution 1024.factor=1"],
    **dict.fromkeys(
        ("mini_inpaint", "mini_inpaint_trained", "unclip_mini", "picture_as_prompt", "two_references_by_mask"),
        ["Base 64x64.steps=2", "Super resolution 256.steps=1"],
    ),
}  # fmt: skip


NEED_COMFYUI = (
    "deepfloyd_if_1024_sdx4",
    "imagen_native_ksampler",
    "imagen_to_latent_1024",
    "latent_to_pixels_1024",
    "threshold_any_model",
)
NEED_WEIGHTS = ("deepfloyd_if_256", "deepfloyd_if_1024", "deepfloyd_if_img2img", "deepfloyd_if_inpaint")
NEED_ADM = ("adm_classifier_guided", "adm_classifier_scales")
NEED_VAE = ("vae_loss",)
NEED_GLIDE = ("glide_256", "glide_inpaint", "glide_guidance_compared")  # test_workflows_glide.py
NEED_KARLO = ("karlo_256",)  # test_workflows_karlo.py
LEARNS = ("teach_a_thing",)  # writes a file
NEED_FILES = NEED_WEIGHTS + NEED_ADM + NEED_VAE + NEED_GLIDE + NEED_KARLO + LEARNS
RUN_HERE = [name for name in NAMES if name not in NEED_COMFYUI + NEED_FILES]


def test_the_list_says_which_graphs_need_comfyui(imagen):
    _, listed, _ = imagen("workflows")
    assert {line.split()[0] for line in listed.splitlines() if "(needs ComfyUI)" in line} == set(NEED_COMFYUI)


@pytest.mark.parametrize("name", NEED_COMFYUI)
def test_a_graph_that_needs_comfyui_says_so_in_one_line(name, imagen):
    for target in (name, ROOT / "workflows" / "api" / f"{name}.json"):
        code, _, said = imagen("run", target)
        assert code == 2 and said.count("\n") == 1
        assert f"{name} needs ComfyUI" in said


@pytest.mark.parametrize("name", NEED_WEIGHTS)
def test_a_graph_whose_weights_are_not_here_names_node_and_file(name, imagen):
    code, _, said = imagen("run", name)
    assert code == 2
    for title, file in (
        ("Load T5-XXL", "t5xxl_fp8_e4m3fn"),
        ("Load stage I", "IF-I-M-v1.0"),
        ("Load stage II", "IF-II-M"),
    ):
        assert any(title in line and file in line for line in said.splitlines())


@pytest.mark.parametrize("name", NEED_ADM)
def test_a_graph_of_adm_names_both_files_that_are_not_here(name, imagen):
    code, _, said = imagen("run", name)
    assert code == 2
    for title, file in (("Load ADM", "256x256_diffusion_uncond"), ("Load classifier", "256x256_classifier")):
        assert any(title in line and file in line for line in said.splitlines())


@pytest.mark.parametrize("name", NEED_VAE)
def test_a_graph_whose_vae_is_not_here_names_node_and_folder(name, imagen):
    code, _, said = imagen("run", name)
    assert code == 2 and "Load VAE" in said and "taesd" in said


def test_the_meter_runs_on_the_vae_that_loses_nothing(imagen):
    quick = ["Load VAE.vae=pixel_space", "Super resolution 1024.factor=1", "Super resolution 1024.steps=1"]
    lost, drawn = drawn_by(imagen, "vae_loss", *quick)
    assert not np.array(Image.open(lost).convert("RGB")).any() and Image.open(drawn).size == (256, 256)


def test_a_thing_is_taught_saved_and_drawn(imagen, tmp_path, monkeypatch):
    """In two steps, which change little: the file is there, and the pictures are not those of an untaught stage."""
    (tmp_path / "models").mkdir()
    monkeypatch.setenv("IMAGEN_MODELS", str(tmp_path / "models"))
    quick = ["ImagenTrainLoRA.steps=2", "ImagenTrainLoRA.batch_size=2", "Base 64x64.steps=1", "Base 64x64.batch_size=1"]
    quick += ["Super resolution 256.steps=1", "ImagenTrainLoRA.class_prompts=a fox", "ImagenTrainLoRA.class_images=1"]
    pictures = []
    for rate in ("0.000001", "0.05"):
        (path,) = drawn_by(imagen, "teach_a_thing", *quick, f"ImagenTrainLoRA.learning_rate={rate}")
        pictures.append(np.array(Image.open(path).convert("RGB")).astype(int))
    assert {path.name for path in (tmp_path / "models" / "loras").iterdir()} == {
        "zibble.safetensors",
        "zibble_2.safetensors",
    }
    assert pictures[0].shape == (256, 256, 3) and np.abs(pictures[0] - pictures[1]).mean() > 0.5


def test_inpainting_keeps_what_the_mask_leaves(imagen):
    (path,) = drawn_by(imagen, "mini_inpaint", *QUICK["mini_inpaint"])
    drawn, photo = Image.open(path).convert("RGB"), Image.open(ROOT / "input" / "example_inpaint.png")
    assert photo.getpixel((192, 192))[3] == 0, "the middle is to be repainted"
    pixels = torch.from_numpy(np.array(photo)).movedim(-1, 0)[None].float()
    expected = resize(pixels, (256, 256))[0].round()
    kept = expected[3] == 255
    kept[32:224, 32:224] = False  # a ring around the hole, in which the small stage's mask is grey
    assert kept.float().mean() > 0.4
    got = torch.from_numpy(np.array(drawn)).movedim(-1, 0)
    assert (got - expected[:3])[:, kept].abs().max() <= 1
    assert (got - expected[:3])[:, 96:160, 96:160].abs().mean() > 10, "and the hole is filled"


@pytest.mark.parametrize("name, form", [*((name, "editor") for name in RUN_HERE), ("text_to_image_64", "api")])
def test_the_graph_draws_on_the_shipped_weights(name, form, imagen):
    target = name if form == "editor" else ROOT / "workflows" / "api" / f"{name}.json"
    paths = drawn_by(imagen, target, *QUICK[name])
    assert paths
    for path in paths:
        picture = Image.open(path)
        assert "workflow" in picture.text or form == "api"
        assert "prompt" in picture.text
    if name.endswith("1024"):
        assert picture.size == (1024, 1024)


@pytest.mark.parametrize(
    "saved, changes",
    [
        ("text_to_image_1024_of_0_1.json", QUICK["text_to_image_1024"]),
        ("text_to_image_64_of_0_1.api.json", QUICK["text_to_image_64"]),
    ],
)
def test_graphs_saved_with_the_first_version_draw_by_what_took_their_weights_place(saved, changes, imagen):
    """Files as they were first committed, of base64 and its T5, which ship no longer."""
    (path,) = drawn_by(imagen, ROOT / "tests" / "saved_graphs" / saved, *changes)
    used = [entry["inputs"] for entry in json.loads(Image.open(path).text["prompt"]).values()]
    assert "imagen-mini/base64.safetensors" in [inputs.get("checkpoint") for inputs in used]
    assert "imagen-mini/text_encoder" in [inputs.get("text_encoder") for inputs in used]
