"""Which host runs us, and what the nodes ask of it: model files, device, progress, pictures in the host's form.

The only file that imports ComfyUI's modules or the embedded host's. Shapes: b images, h w pixels, c channels.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

try:
    import folder_paths
    from comfy import model_management
    from comfy.utils import ProgressBar
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] not in ("folder_paths", "comfy"):
        raise
    folder_paths = model_management = None
    runtime = importlib.import_module("imagen_host.runtime")
    ProgressBar = runtime.ProgressBar

IN_COMFYUI = folder_paths is not None
PACK_MODELS = Path(__file__).resolve().parent.parent / "models"
PREVIEW_SIDE = 512

if folder_paths is not None:
    folder_paths.folder_names_and_paths.setdefault(
        "imagen", ([str(Path(folder_paths.models_dir) / "imagen"), str(PACK_MODELS)], {".safetensors"})
    )


def model_folders() -> list[Path]:
    """Where model files are looked for, in this order."""
    if folder_paths is None:
        return [*map(Path, runtime.get_model_directories()), PACK_MODELS]
    return [Path(folder) for folder in folder_paths.get_folder_paths("imagen")]


def model_names(accept: Callable[[Path], bool], pattern: str) -> list[str]:
    """Names, relative to a model folder and with forward slashes, of the files or folders that `accept` takes."""
    found = {
        path.relative_to(folder).as_posix(): None
        for folder in model_folders()
        if folder.is_dir()
        for path in sorted(folder.rglob(pattern))
        if accept(path)
    }
    return list(found)


def model_path(name: str) -> Path:
    """The full path of a model that `model_names` listed. Raises FileNotFoundError naming the folders searched."""
    for folder in model_folders():
        path = (folder / name).resolve()
        if path.is_relative_to(folder.resolve()) and path.exists():
            return path
    searched = ", ".join(map(str, model_folders()))
    raise FileNotFoundError(f"no model {name!r} in {searched}: put it there, or choose another in the node's list")


def fingerprint(name: str) -> str:
    """What changes when a model's files change: their sizes and times, for IS_CHANGED."""
    path = model_path(name)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return ";".join(f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)


def device() -> torch.device:
    """Where networks run."""
    if model_management is not None:
        return model_management.get_torch_device()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def managed(model):
    """A loaded `Stage` or `T5TextEncoder` as it travels between nodes: under the host's memory manager, if it has one."""
    return model


def image_to_core(image: Tensor) -> Tensor:
    """The host's IMAGE (b h w c) in [0, 1] as (b 3 h w) in [-1, 1]; alpha is dropped, grey becomes colour."""
    pixels = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(*image.shape[:-1], 3)
    return pixels.movedim(-1, 1).float() * 2.0 - 1.0  # b 3 h w


def image_from_core(pixels: Tensor) -> Tensor:
    """(b c h w) in [-1, 1] as the host's IMAGE (b h w c) in [0, 1]."""
    return ((pixels + 1.0) / 2.0).clamp(0.0, 1.0).movedim(1, -1).contiguous().float().cpu()  # b h w c


def throw_if_interrupted() -> None:
    """Raise the host's own exception when the user pressed stop."""
    if model_management is not None:
        model_management.throw_exception_if_processing_interrupted()
    else:
        runtime.throw_exception_if_processing_interrupted()


def _wants_preview() -> bool:
    return True if folder_paths is not None else runtime.wants_preview()


def _preview(x_0: Tensor) -> tuple[str, Image.Image, int]:
    """The first picture of the batch as the host's progress bar takes it."""
    pixels = image_from_core(x_0[:1])[0].mul(255.0).round().byte().numpy()  # h w c
    picture = Image.fromarray(pixels)
    if max(picture.size) < PREVIEW_SIDE:  # a 64 pixel picture is shown large enough to be judged
        scale = PREVIEW_SIDE // max(picture.size)
        picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
    return ("JPEG", picture, PREVIEW_SIDE)


def step_reporter(steps: int) -> Callable:
    """A sampling callback: progress and a preview of the predicted picture each step, and a place to be stopped at."""
    bar = ProgressBar(steps)
    throw_if_interrupted()

    def report(step: int, total: int, prediction) -> None:
        bar.update_absolute(step, total, _preview(prediction.x_0) if _wants_preview() else None)
        throw_if_interrupted()

    return report
