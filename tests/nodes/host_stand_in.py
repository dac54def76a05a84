"""A stand-in for ComfyUI, of our own writing: the names of host_surface.py, and objects that do with ours what its do.

It draws nothing itself. What it reads of ours is what a ComfyUI reads; tests/comfyui asks the real ones.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from types import SimpleNamespace

import host_surface
import torch
from torch import nn

CPU = torch.device("cpu")
_loaded: list = []


class Cast:
    comfy_cast_weights = False
    weight_function, bias_function = [], []


class ModelPatcher:
    """A network under the memory manager, or a model with its hooks."""

    def __init__(self, model, load_device, offload_device):
        self.model, self.load_device, self.offload_device = model, load_device, offload_device

    def load(self, device_to=None, *args, **kwargs):
        marked = [module for module in self.model.modules() if hasattr(module, "comfy_cast_weights")]
        self.read = [(m.weight, m.bias, m.weight_function, m.bias_function) for m in marked]
        self.model.to(device_to)


class Model:
    """What a node gets as MODEL: its hooks are kept on a clone."""

    def __init__(self, channels=4, hooks=(), wrappers=()):
        self.channels, self.hooks, self.wrappers = channels, list(hooks), list(wrappers)

    def clone(self):
        return Model(self.channels, self.hooks, self.wrappers)

    def get_model_object(self, name):
        return {"latent_format": SimpleNamespace(latent_channels=self.channels, scale_factor=1.0)}[name]

    def set_model_sampler_post_cfg_function(self, hook):
        self.hooks.append(hook)

    def add_wrapper_with_key(self, kind, key, wrapper):
        assert kind == "predict_noise" and isinstance(key, str)
        self.wrappers.append(wrapper)


class Executor:
    """Calls what it wraps; `class_obj` is the guider whose method that is."""

    def __init__(self, function, class_obj):
        self.function, self.class_obj = function, class_obj

    def __call__(self, *args, **kwargs):
        return self.function(*args, **kwargs)


def step(model, progress, unconditional=True):
    """One step of a sampler at cfg 7, `progress` of the way from noise to picture."""
    sampling = SimpleNamespace(percent_to_sigma=lambda percent: 1.0 - percent)
    guider = SimpleNamespace(cfg=7.0, inner_model=SimpleNamespace(model_sampling=sampling))
    used = []

    def predict(x, timestep, *args, **kwargs):
        used.append(guider.cfg)
        without = 0.5 * x if unconditional else torch.zeros_like(x)
        x_0 = without + guider.cfg * (x - without) if unconditional else x
        args = {"denoised": x_0, "cond_denoised": x, "uncond_denoised": without, "cond_scale": guider.cfg}
        args |= {"sigma": timestep, "model": guider.inner_model, "uncond": [{}] if unconditional else None}
        for hook in model.hooks:
            args["denoised"] = hook(args)
        return args["denoised"]

    for wrapper in model.wrappers:
        predict = _around(wrapper, Executor(predict, guider))
    x = 2.0 * torch.randn(1, model.channels, 8, 8, generator=torch.Generator().manual_seed(0))
    x_0 = predict(x, torch.tensor([1.0 - progress]))
    return SimpleNamespace(x_0=x_0, guider=guider, cfg_used=used[0])


def _around(wrapper, executor):
    return lambda *args, **kwargs: wrapper(executor, *args, **kwargs)


class T5:
    """The T5-XXL inside a CLIP; `read_with`: its settings when it was last asked to encode."""

    special_tokens = {"end": 1, "pad": 0}

    def __init__(self):
        self.enable_attention_masks = self.return_attention_masks = self.zero_out_masked = False
        self.transformer = SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(weight=torch.zeros(99, 8)))

    def reset_clip_options(self):
        pass

    def encode(self, tokens):
        self.read_with = {name: getattr(self, name) for name in ("enable_attention_masks", "zero_out_masked")}
        return torch.ones(len(tokens), len(tokens[0]), 8), None


class Tokenizer:
    def __len__(self):
        return 99

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [2 + len(word) for word in text.split()]}

    def decode(self, ids):
        return " ".join("x" * (number - 2) for number in ids)


class Clip:
    def __init__(self):
        self.was_loaded = False
        self.cond_stage_model = type("Whole", (), {})()  # of a class that may be referred to weakly
        self.cond_stage_model.t5xxl = T5()
        self.tokenizer = SimpleNamespace(t5xxl=SimpleNamespace(tokenizer=Tokenizer()))
        self.patcher = SimpleNamespace(patches_uuid="none")

    def load_model(self):
        self.was_loaded = True


class LoadImage:
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": (["theirs.png"], {"image_upload": True})}}

    @classmethod
    def VALIDATE_INPUTS(cls, image):
        return image == "theirs.png" or f"no file {image}"

    def load(self, image):
        return torch.full((1, 2, 2, 3), 0.5), torch.zeros(1, 2, 2)


class ProgressBar:
    def __init__(self, total):
        self.total = total

    def update_absolute(self, value, total=None, preview=None):
        assert 0 < value <= self.total


def loaded():
    """The patchers on the device, in the order in which they came there."""
    return list(_loaded)


def read_by_the_manager(patcher):
    """How many modules it was told of that it may leave behind."""
    return len(patcher.read)


def _load_models_gpu(models, memory_required=0, minimum_memory_required=None):
    for patcher in models:
        patcher.load(patcher.load_device)
        _loaded[:] = [*(each for each in _loaded if each is not patcher), patcher]


def _contents(root):
    """What each recorded name is here."""
    plain = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
    folders = {"imagen": (["/named"], set()), "text_encoders": (["/models/text_encoders"], set())}
    here = dict.fromkeys(("get_torch_device", "text_encoder_device", "text_encoder_offload_device"), lambda: CPU)
    return here | {
        "ModelPatcher": ModelPatcher,
        "ProgressBar": ProgressBar,
        "LoadImage": LoadImage,
        "WrappersMP": SimpleNamespace(DIFFUSION_MODEL="diffusion_model", PREDICT_NOISE="predict_noise"),
        "disable_weight_init": SimpleNamespace(
            **{each.__name__: type(each.__name__, (each, Cast), {}) for each in plain}
        ),
        "base_path": str(root),
        "models_dir": "/models",
        "folder_names_and_paths": folders,
        "get_folder_paths": lambda kind: folders[kind][0],
        "free_memory": lambda size, device: None,
        "get_free_memory": lambda device: 1e12,
        "load_models_gpu": _load_models_gpu,
        "minimum_inference_memory": lambda: 1.0,
        "throw_exception_if_processing_interrupted": lambda: None,
        "args": SimpleNamespace(fp32_unet=False, force_fp32=False),
        "unet_dtype": lambda device, supported_dtypes: supported_dtypes[0],
        "unet_offload_device": lambda: CPU,
    }


@contextlib.contextmanager
def installed(root):
    """The pack, loaded anew beside this stand-in; then neither is known any longer."""
    before = set(sys.modules)
    _loaded.clear()
    contents = _contents(root)
    try:
        for name in ("comfy", *host_surface.NAMES):
            module = sys.modules[name] = types.ModuleType(name)
            vars(module).update({each: contents.get(each) for each in host_surface.NAMES.get(name, ())})
            owner, _, last = name.rpartition(".")
            if owner and getattr(sys.modules[owner], last, None) is None:
                setattr(sys.modules[owner], last, module)
        spec = importlib.util.spec_from_file_location(
            "pack_in_stand_in", root / "__init__.py", submodule_search_locations=[str(root)]
        )
        pack = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pack)
        yield pack
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in (*host_surface.TOP, "pack_in_stand_in"):
                del sys.modules[name]
