"""What do the help pages of the nodes for ComfyUI's own models show? Draws web/docs/{guidance,threshold}_model.jpg there.

COMFYUI_PATH=... [COMFYUI_PYTHON=...] python tests/comfyui/model_pictures.py
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "workflows"), str(HERE.parents[1])]

import real_server  # noqa: E402
from help_pictures import DOCS, sheet  # noqa: E402
from thumbnails import save  # noqa: E402

PROMPT = "a 3D emoji of a robot on a gray background"
KSAMPLER = {"seed": 11, "steps": 20, "sampler_name": "dpmpp_2m", "scheduler": "exponential", "denoise": 1.0}
THRESHOLD = {
    "mimic_scale": 1.5,
    "percentile": 99.5,
    "method": "dynamic",
    "channels": "joint",
    "space": "auto",
    "maximum": 0.0,
}
THRESHOLD |= {"start": 0.0, "end": 1.0, "curve": "constant"}
SHEETS = {
    "guidance_model": {
        "cfg 1.5": (1.5, None),
        "cfg 15": (15.0, None),
        "cfg 15 from 0.1 to 0.8": (15.0, ("ImagenGuidanceModel", {"start": 0.1, "end": 0.8, "rescale": 0.0})),
        "cfg 15, rescale 0.7": (15.0, ("ImagenGuidanceModel", {"start": 0.0, "end": 1.0, "rescale": 0.7})),
    },
    "threshold_model": {
        "cfg 1.5": (1.5, None),
        "cfg 15": (15.0, None),
        "cfg 15, pixel": (15.0, ("ImagenThresholdModel", THRESHOLD)),
        "cfg 15, latent": (15.0, ("ImagenThresholdModel", {**THRESHOLD, "space": "latent"})),
    },
}


def prompt_of(cfg: float, patch: tuple[str, dict] | None) -> dict[str, dict]:
    """things64 as a native model, patched or not, drawn by KSampler."""
    nodes = {
        "encoder": ("ImagenLoadTextEncoder", {"text_encoder": "imagen-mini/things_text_encoder"}),
        "text": ("ImagenTextEncode", {"text_encoder": ["encoder", 0], "text": PROMPT, "negative_text": ""}),
        "unet": ("ImagenLoadUNet", {"checkpoint": "imagen-mini/things64.safetensors"}),
        "model": ("ImagenToModel", {"unet": ["unet", 0], "text": ["text", 0], "aug_level": 0.0, "aug_seed": 0}),
        "pixels": ("ImagenEmptyPixels", {"width": 64, "height": 64, "batch_size": 1}),
        "patched": (patch[0], {"model": ["model", 0], **patch[1]}) if patch else None,
    }
    links = {"model": ["patched" if patch else "model", 0], "positive": ["model", 1], "negative": ["model", 2]}
    nodes["drawn"] = ("KSampler", {**links, "latent_image": ["pixels", 0], "cfg": cfg, **KSAMPLER})
    nodes["image"] = ("ImagenPixelsToImage", {"pixels": ["drawn", 0]})
    nodes["save"] = ("SaveImage", {"images": ["image", 0], "filename_prefix": "help"})
    return {name: {"class_type": each[0], "inputs": each[1]} for name, each in nodes.items() if each}


def drawn(server: real_server.Server, settings: dict[str, tuple]) -> Iterator[Path]:
    """A picture for each. RuntimeError where ComfyUI does not draw one."""
    for label, asked in settings.items():
        run = server.run(prompt_of(*asked))
        if run.end != "execution_success":
            raise RuntimeError(f"{label}: {run.of('execution_error')}")
        (picture,) = run.outputs["save"]["images"]
        yield server.base / "output" / picture["filename"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, real_server.comfyui(Path(folder)) as server:
        for name, settings in SHEETS.items():
            save(sheet(list(drawn(server, settings)), list(settings)), DOCS / f"{name}.jpg")
            print(f"web/docs/{name}.jpg")


if __name__ == "__main__":
    main()
