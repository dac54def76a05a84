"""The pack loaded in this process as ComfyUI loads it, and tiny models of random weights, ours and ComfyUI's."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, os.environ["COMFYUI_PATH"])
sys.dont_write_bytecode = True
from comfy.cli_args import args  # noqa: E402

args.cpu = not torch.cuda.is_available()

import comfy.model_patcher  # noqa: E402
import comfy.supported_models  # noqa: E402
from comfy import model_base, model_management  # noqa: E402
from comfy_extras import nodes_custom_sampler  # noqa: E402

import nodes as host_nodes  # noqa: E402

TEXT_DIM = 16
BASE = {
    "image_size": 16,
    "channels": 16,
    "channel_mult": (1, 2),
    "num_res_blocks": 1,
    "attention_resolutions": (8,),
    "per_head_channels": 8,
    "text_embed_dim": TEXT_DIM,
}
SUPER = {
    "channels": (16, 16),
    "num_res_blocks": (1, 1),
    "self_attention": (False, False),
    "text_cross_attention": (False, False),
    "strides": (1, 2),
    "num_heads": 1,
    "text_embed_dim": None,
    "low_res_conditioning": True,
}


DEEPFLOYD = {
    "channels": (32, 64),
    "num_res_blocks": (1, 1),
    "attention": (False, True),
    "per_head_channels": 16,
    "text_embed_dim": TEXT_DIM,
    "text_width": 32,
    "pooling_heads": 4,
}


def _load_pack():
    name = str(ROOT).replace(".", "_x_")  # as ComfyUI names a custom node's module
    spec = importlib.util.spec_from_file_location(name, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


PACK = _load_pack()
NODES = PACK.NODE_CLASS_MAPPINGS
CORE = sys.modules[f"{PACK.__name__}.imagen_core"]


@pytest.fixture(autouse=True)
def as_a_node_runs():
    with torch.inference_mode():
        yield


@pytest.fixture
def pack():
    return PACK


@pytest.fixture
def core():
    return CORE


@pytest.fixture
def run():
    """run("NodeId", input=...) -> the node's outputs, with its defaults for the inputs not named."""

    def call(name, /, **inputs):
        known = NODES | host_nodes.NODE_CLASS_MAPPINGS
        node = known.get(name) or getattr(nodes_custom_sampler, name)  # a class in either form of node, V1 or V3
        wanted = node.INPUT_TYPES()["required"]
        defaults = {key: spec[1]["default"] for key, spec in wanted.items() if len(spec) > 1 and "default" in spec[1]}
        return getattr(node(), node.FUNCTION)(**{**defaults, **inputs})

    return call


@pytest.fixture
def make_stage(tmp_path):
    """make_stage(kind, prediction_type, schedule_config, learned_variance) -> a tiny stage of random weights."""
    unets = importlib.import_module(f"{CORE.__name__}.unets")
    host = importlib.import_module(f"{PACK.__name__}.nodes._host")

    def make(kind="base64", prediction_type="x_0", schedule=None, learned_variance=False):
        channels = {"out_channels": 6 if learned_variance else 3}
        config = (
            unets.BaseUNetConfig(**BASE, **channels)
            if kind == "base64"
            else unets.EfficientUNetConfig(**SUPER, **channels)
        )
        torch.manual_seed(0)
        unet = CORE.build_unet(config)
        for parameter in unet.parameters():  # the output layer starts at zero, and zero would hide every fault
            torch.nn.init.normal_(parameter, std=0.1)
        spec = CORE.StageSpec(
            stage=kind,
            unet_config=config,
            schedule_config=schedule or {"name": "cosine", "logsnr_min": -3.0, "logsnr_max": 8.0},
            prediction_type=prediction_type,
            learned_variance=learned_variance,
        )
        path = tmp_path / "stage.safetensors"
        CORE.save_checkpoint(path, unet, spec=spec)
        return host.managed(CORE.load_stage(path))  # as Imagen Load U-Net returns it

    return make


@pytest.fixture
def make_deepfloyd(tmp_path):
    """make_deepfloyd("base64" or "sr256") -> a tiny DeepFloyd IF of random weights: 77 tokens, learned variance."""
    unets = importlib.import_module(f"{CORE.__name__}.unets")
    host = importlib.import_module(f"{PACK.__name__}.nodes._host")

    def make(kind):
        torch.manual_seed(0)
        config = unets.DeepFloydUNetConfig(**DEEPFLOYD, low_res_conditioning=kind != "base64")
        unet = CORE.build_unet(config)
        for parameter in unet.parameters():
            torch.nn.init.normal_(parameter, std=0.08)
        schedule = {"name": "discrete", "betas": "squaredcos_cap_v2", "num_timesteps": 1000}
        ways = {} if kind == "base64" else {"low_res_resize": "align_corners", "aug_zero_is_clean": False}
        facts = {"unet_config": config, "schedule_config": schedule, "prediction_type": "eps", "learned_variance": True}
        path = tmp_path / "deepfloyd.safetensors"
        CORE.save_checkpoint(path, unet, spec=CORE.StageSpec(stage=kind, **facts, **ways))
        return host.managed(CORE.load_stage(path))

    return make


@pytest.fixture
def padded_prompt():
    """A prompt and a negative one as DeepFloyd IF reads them: 77 tokens each, most of them padding."""
    embeds = torch.randn(2, 77, TEXT_DIM, generator=torch.Generator().manual_seed(1))
    mask = torch.arange(77)[None] < torch.tensor([[9], [1]])
    both = [CORE.TextEmbeds(embeds=embeds[i : i + 1], mask=mask[i : i + 1]) for i in range(2)]
    return CORE.Prompt(text=both[0], negative=both[1])


@pytest.fixture
def prompt():
    """An encoded prompt of 5 tokens; the null prompt has 1."""
    embeds = torch.randn(1, 5, TEXT_DIM, generator=torch.Generator().manual_seed(1))
    return CORE.Prompt(text=CORE.TextEmbeds(embeds=embeds, mask=torch.ones(1, 5, dtype=torch.bool)))


@pytest.fixture(params=["eps", "flow"])
def host_model(request):
    """A tiny model of ComfyUI's own architecture and random weights, in latents: SD's eps, or a flow as Flux has."""
    config = comfy.supported_models.SD15(
        {
            "image_size": 32,
            "in_channels": 4,
            "out_channels": 4,
            "model_channels": 32,
            "num_res_blocks": [1, 1],
            "channel_mult": [1, 2],
            "transformer_depth": [1, 1],
            "transformer_depth_output": [1, 1, 1, 1],
            "transformer_depth_middle": 1,
            "context_dim": TEXT_DIM,
            "use_spatial_transformer": True,
            "use_linear_in_transformer": False,
            "adm_in_channels": None,
            "legacy": False,
            "dtype": torch.float32,
        }
    )
    config.unet_config |= {"num_heads": 4, "num_head_channels": -1}
    kind = {"eps": model_base.ModelType.EPS, "flow": model_base.ModelType.FLOW}[request.param]
    model = model_base.BaseModel(config, model_type=kind)
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.diffusion_model.named_parameters():  # text must matter, so that cfg 30 burns
        loud = "attn2.to_v" in name or "attn2.to_out" in name or "proj_out" in name or name.startswith("out.2")
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * (0.7 if loud else 0.05))
    offload = model_management.unet_offload_device()
    return comfy.model_patcher.ModelPatcher(model, model_management.get_torch_device(), offload)


@pytest.fixture
def host_conditioning():
    """(positive, negative) of random text for `host_model`."""
    generator = torch.Generator().manual_seed(4)
    return tuple([[torch.randn(1, 7, TEXT_DIM, generator=generator), {}]] for _ in range(2))


@pytest.fixture
def watch():
    """watch(model) -> (the model, what its guidance gives and was given at each step, after every other patch)."""

    def add(model):
        seen = []

        def keep(args):
            seen.append({**args, "sigma": float(args["sigma"].max())})
            return args["denoised"]

        patched = model.clone()
        patched.set_model_sampler_post_cfg_function(keep)
        return patched, seen

    return add
