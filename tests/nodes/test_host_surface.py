"""Does the pack lean on nothing of ComfyUI's but what is recorded, and hand its objects what they ask for? No ComfyUI here.

host_stand_in.py plays its part: modules that have the recorded names and no others.
"""

import sys
from types import SimpleNamespace

import host_stand_in
import host_surface
import pytest
import tiny_adm
import tiny_clip
import torch
from pack import ROOT

SOURCES = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "nodes").rglob("*.py"))]


def test_what_is_leaned_on_is_what_is_recorded():
    """A name that is used and not recorded is one of which nobody knows whether every ComfyUI has it."""
    assert set().union(*map(host_surface.leaned_on, SOURCES)) == host_surface.recorded()


@pytest.mark.parametrize(
    "source, leaned",
    [
        ("from comfy import ops\nops.manual_cast.Linear", "comfy.ops.manual_cast.Linear"),
        ("import comfy.sd\ncomfy.sd.load_clip()", "comfy.sd.load_clip"),
        ("from comfy.sd import VAE", "comfy.sd.VAE"),
        ("from .which import model_management as m\nmodel_management.OOM", "comfy.model_management.OOM"),
        ('importlib.import_module("nodes").VAELoader()', "nodes.VAELoader"),
        ("from comfy import ops\nops.disable_weight_init.Linear", "comfy.ops.disable_weight_init"),
    ],
)
def test_a_new_lean_is_noticed(source, leaned):
    assert leaned in host_surface.leaned_on(source)


def test_a_name_that_is_not_comfyuis_is_none():
    assert host_surface.leaned_on("import os\nfrom .clip import comfy\nos.getcwd()\ncomfy.sd") == set()


@pytest.fixture(scope="module")
def pack():
    """The pack as ComfyUI loads it, with the stand-in for ComfyUI."""
    with host_stand_in.installed(ROOT) as loaded:
        yield loaded


def part(pack, name):
    return sys.modules[f"{pack.__name__}.{name}"]


def run(pack, name, **inputs):
    node = pack.NODE_CLASS_MAPPINGS[name]
    declared = node.INPUT_TYPES()
    wanted = declared["required"] | declared.get("optional", {})
    defaults = {key: spec[1]["default"] for key, spec in wanted.items() if len(spec) > 1 and "default" in spec[1]}
    return getattr(node(), node.FUNCTION)(**{**defaults, **inputs})


@pytest.fixture(scope="module")
def drawn(pack):
    """(the encoder, the stage, the picture) of the shipped weights through the nodes, as in the shipped graph."""
    encoder = run(pack, "ImagenLoadTextEncoder", text_encoder="imagen-mini/things_text_encoder")[0]
    stage = run(pack, "ImagenLoadUNet", checkpoint="imagen-mini/things64.safetensors")[0]
    text = run(pack, "ImagenTextEncode", text_encoder=encoder, text="a red cube", negative_text="")[0]
    return encoder, stage, run(pack, "ImagenBaseSample64", unet=stage, text=text, steps=2)[0]


def test_a_graph_with_a_prompt_runs_under_the_memory_manager(pack, drawn):
    """The stand-in's `ModelPatcher.load` reads of each marked module what ComfyUI's reads."""
    encoder, stage, picture = drawn
    assert host_stand_in.loaded() == [encoder.network.patcher, stage.patcher]
    assert all(host_stand_in.read_by_the_manager(patcher) > 10 for patcher in host_stand_in.loaded())
    assert picture.shape == (1, 64, 64, 3) and picture.std() > 0.05


def test_comfyuis_options_for_float32_keep_a_cpu_from_bfloat16(pack, monkeypatch):
    memory = part(pack, "nodes._host.memory")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.setattr(memory.model_management, "unet_dtype", lambda device, supported_dtypes: torch.float32)
    assert memory.unet_dtype(trained_in_half=True) == torch.bfloat16
    for option in ("fp32_unet", "force_fp32"):
        with monkeypatch.context() as started:
            started.setattr(memory.args, option, True)
            assert memory.unet_dtype(trained_in_half=True) == torch.float32


def test_it_is_the_picture_of_the_embedded_host(drawn):
    from pack import PACK

    encoder = run(PACK, "ImagenLoadTextEncoder", text_encoder="imagen-mini/things_text_encoder")[0]
    stage = run(PACK, "ImagenLoadUNet", checkpoint="imagen-mini/things64.safetensors")[0]
    text = run(PACK, "ImagenTextEncode", text_encoder=encoder, text="a red cube", negative_text="")[0]
    assert torch.equal(run(PACK, "ImagenBaseSample64", unet=stage, text=text, steps=2)[0], drawn[2])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A tiny CLIP, an ADM stage and its classifier."""
    folder = tmp_path_factory.mktemp("measures")
    stage, classifier = (tiny_adm.written(folder / f"{name}.safetensors", name) for name in ("adm", "adm_classifier"))
    return tiny_clip.written(folder), stage, classifier


def guided(pack, files):
    """(the picture, scores, the CLIP, the classifier): by classes, towards a text and away from none, and scored."""
    core, host = part(pack, "imagen_core"), part(pack, "nodes._host")
    loads = (core.load_clip, core.load_stage, core.load_classifier)
    clip, stage, classifier = (host.managed(load(file)) for load, file in zip(loads, files, strict=True))
    with torch.inference_mode():  # as a host runs nodes
        (guidance,) = run(pack, "ImagenClassifierGuidance", classifier=classifier, label="1")
        (guidance,) = run(pack, "ImagenCLIPGuidance", clip=clip, text="a red fox", scale=9.0, guidance=guidance)
        (text,) = run(pack, "ImagenClassLabel", label="2")
        draw = {"steps": 2, "width": 32, "height": 32, "guidance_scale": 1.0, "guidance": guidance}
        (picture,) = run(pack, "ImagenBaseSample64", unet=stage, text=text, **draw)
        return picture, run(pack, "ImagenCLIPScore", clip=clip, image=picture, text="a red fox")[1], clip, classifier


def test_what_guides_and_scores_runs_under_the_memory_manager(pack, files):
    from pack import PACK

    picture, scores, clip, classifier = guided(pack, files)
    assert {clip.patcher, classifier.patcher} <= set(host_stand_in.loaded())
    assert all(host_stand_in.read_by_the_manager(each.patcher) == 0 for each in (clip, classifier)), "moved whole"
    here, here_scores, *_ = guided(PACK, files)
    assert torch.equal(picture, here) and scores == here_scores


def test_weights_that_were_moved_while_a_node_ran_still_have_gradients(pack, files):
    core, host = part(pack, "imagen_core"), part(pack, "nodes._host")
    clip = host.managed(core.load_clip(files[0]))
    with torch.inference_mode():
        clip.network._apply(torch.clone)  # as `Module.to` does on the way to another device
        assert next(clip.network.parameters()).is_inference()
        (guidance,) = run(pack, "ImagenCLIPGuidance", clip=clip, text="a red fox", scale=2.0)
        picture = torch.zeros(1, 3, 32, 32)
        pull = guidance[-1].shift(picture, SimpleNamespace(sigma=1.0))
    assert pull.abs().max() > 0.0


def test_a_clips_text_tower_goes_where_the_manager_brings_it(pack, files):
    core, host = part(pack, "imagen_core"), part(pack, "nodes._host")
    alone, managed = (core.load_text_encoder(files[0]) for _ in range(2))
    managed = host.managed(managed)
    assert torch.equal(managed.encode(["a red fox"]).embeds, alone.encode(["a red fox"]).embeds)
    assert host_stand_in.loaded()[-1] is managed.network.patcher
    assert host_stand_in.read_by_the_manager(managed.network.patcher) > 10, "its layers may be left behind"


def test_the_models_that_a_user_named_come_first(pack):
    folders = part(pack, "nodes._host.files").model_folders("text_encoders")
    assert [folder.name for folder in folders] == ["named", "imagen", "models", "text_encoders"]


def test_a_model_is_guided_in_its_interval_only(pack):
    """What its hook is handed: a guider with `cfg`, its `inner_model`, and sigma; elsewhere cfg is 1."""
    (patched,) = run(pack, "ImagenGuidanceModel", model=host_stand_in.Model(), start=0.2, end=0.6, rescale=0.0)
    assert [host_stand_in.step(patched, progress).cfg_used for progress in (0.1, 0.4, 0.9)] == [1.0, 7.0, 1.0]
    assert host_stand_in.step(patched, 0.1).guider.cfg == 7.0, "and it is put back"


def test_a_model_is_thresholded_after_guidance(pack):
    """In pixels, statically: what is out of [-1, 1] is clipped; a step without the unconditional pass is one too."""
    (patched,) = run(pack, "ImagenThresholdModel", model=host_stand_in.Model(channels=3), method="static")
    for unconditional in (True, False):
        x_0 = host_stand_in.step(patched, 0.5, unconditional=unconditional).x_0
        assert x_0.abs().max() == 1.0
    assert host_stand_in.step(host_stand_in.Model(channels=3), 0.5).x_0.abs().max() > 1.0


def test_a_prompt_is_read_by_the_t5_of_a_clip(pack):
    clip = host_stand_in.Clip()
    (text,) = run(pack, "ImagenTextFromCLIP", clip=clip, text="a red cube", negative_text="", padding="77")
    assert text.text.embeds.shape == (1, 77, 8) and clip.was_loaded
    assert clip.cond_stage_model.t5xxl.read_with == {"enable_attention_masks": True, "zero_out_masked": False}
    assert clip.cond_stage_model.t5xxl.enable_attention_masks is False, "and it is left as it was"


def test_a_picture_of_the_hosts_input_folder_is_loaded_by_the_hosts_node(pack):
    node = pack.NODE_CLASS_MAPPINGS["ImagenExamplePicture"]
    assert node.INPUT_TYPES()["required"]["image"][0][-1] == "theirs.png"
    assert node.VALIDATE_INPUTS("theirs.png") is True and node.VALIDATE_INPUTS("no.png") == "no file no.png"
    assert [float(part.mean()) for part in run(pack, "ImagenExamplePicture", image="theirs.png")] == [0.5, 0.0]
