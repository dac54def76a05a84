"""ADM stages and a classifier as files as OpenAI published them, small, their bytes random."""

import importlib.util

import torch
from pack import ROOT
from safetensors.torch import save_file


def layout(name):
    spec = importlib.util.spec_from_file_location(f"stored_{name}", ROOT / "tests" / "core" / "stored" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.shapes()


def written(path, name, stem=None):
    shapes, metadata = layout(name)
    torch.manual_seed(0)
    weights = {key: torch.randn(shape) * 0.1 for key, shape in shapes.items()}
    if stem is not None:
        weights["input_blocks.0.0.weight"] = torch.randn(32, stem, 3, 3) * 0.1
    save_file(weights, path, metadata=metadata)
    return path
