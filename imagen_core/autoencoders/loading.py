"""How is a tiny VAE read from what people have: TAESD's two files, one file of both, or a diffusers folder?"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from .._safetensors import opened
from .._walk import find_models
from .tiny import LATENT_FORMS, LatentForm, TinyAutoencoder, TinyVAE

FOLDER_FILE = "diffusion_pytorch_model.safetensors"
PARTS = ("encoder", "decoder")
# Of each part: what its names begin with in a file of both. In TAESD's own files the numbers of the decoder are one
# higher, as they count the clamp before it.
BEGINNINGS = {"encoder.layers.": 0, "decoder.layers.": 0, "taesd_encoder.": 0, "taesd_decoder.": 1}
Places = dict[str, tuple[Path, str]]  # our name of a weight -> its file, and its name there


def load_vae(path: str | os.PathLike[str], form: str = "sd1", *, device: torch.device | str = "cpu") -> TinyVAE:
    """A tiny VAE in float32.

    path: TAESD's `..._decoder.safetensors` with `..._encoder.safetensors` beside it (without: it only decodes), one
        .safetensors with both, or a folder of diffusers' AutoencoderTiny.
    form: whose latents it reads, of `LATENT_FORMS`; no file says.
    Raises FileNotFoundError, or ValueError naming the file for what is no tiny VAE, is damaged, or has other latents.
    """
    if form not in LATENT_FORMS:
        raise ValueError(f"latents are {form!r}: expected one of {', '.join(LATENT_FORMS)}")
    places, shapes = _places(Path(path))
    network = _built(shapes, LATENT_FORMS[form], form, Path(path))
    _fill(network, places, shapes, Path(path))
    return TinyVAE(network.to(device).eval(), LATENT_FORMS[form])


def find_vaes(folder: Path) -> Iterator[Path]:
    """Every tiny VAE under `folder`, in order of name, told by headers: folders, files of both, and decoders."""
    return find_models(folder, lambda path: (path / FOLDER_FILE).is_file() and _is_tiny(path), _is_tiny)


def _is_tiny(path: Path) -> bool:
    if path.is_file() and path.suffix.lower() != ".safetensors":
        return False
    try:
        return {"decoder.0.weight", "decoder.2.conv.0.weight"} <= _places(path)[0].keys()
    except (OSError, ValueError):
        return False


def _places(path: Path) -> tuple[Places, dict[str, tuple[int, ...]]]:
    """Where each weight lies, by our names, and what shape it has there."""
    files = [path / FOLDER_FILE] if path.is_dir() else [path, *_encoder_beside(path)]
    places: Places = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for file in files:
        with opened(file) as archive:
            for name, shape in archive.shapes.items():
                ours = _our_name(name, "encoder" if file != path else "decoder")
                if ours is not None:
                    places[ours], shapes[ours] = (file, name), tuple(shape)
    return places, shapes


def _encoder_beside(path: Path) -> list[Path]:
    beside = path.with_name(path.name.replace("decoder", "encoder"))
    return [beside] if beside != path and beside.is_file() else []


def _our_name(name: str, part: str) -> str | None:
    """encoder.N.rest or decoder.N.rest; None for what is no layer's, as a scale. `part`: of a file that holds one alone."""
    for beginning, ahead in BEGINNINGS.items():
        if name.startswith(beginning):
            return _numbered(next(p for p in PARTS if p in beginning), name.removeprefix(beginning), ahead)
    return _numbered(part, name, int(part == "decoder"))


def _numbered(part: str, rest: str, ahead: int) -> str | None:
    number, dot, rest = rest.partition(".")
    return f"{part}.{int(number) - ahead}.{rest}" if dot and number.isdigit() else None


def _built(shapes: Mapping[str, tuple[int, ...]], form: LatentForm, named: str, path: Path) -> TinyAutoencoder:
    first = shapes.get("decoder.0.weight")
    if first is None or len(first) != 4:
        raise ValueError(f"{path} is no tiny VAE (TAESD, AutoencoderTiny): choose another file")
    if first[1] != form.channels:
        fitting = ", ".join(name for name, known in LATENT_FORMS.items() if known.channels == first[1])
        raise ValueError(
            f"{path} decodes latents of {first[1]} channels, and {named} has {form.channels}: choose"
            f" {fitting or 'another file'}"
        )
    with torch.device("meta"):
        return TinyAutoencoder(form.channels, first[0], encoder="encoder.0.weight" in shapes)


def _fill(network: nn.Module, places: Places, shapes: Mapping[str, tuple[int, ...]], path: Path) -> None:
    wanted = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    odd = sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
    if odd:
        here, there = shapes.get(odd[0], "missing"), wanted.get(odd[0], "none")
        raise ValueError(f"{path} is no tiny VAE as published: {odd[0]} is {here}, expected {there}")
    with torch.inference_mode(False):  # in which hosts run nodes
        weights = {}
        for file in {file for file, _ in places.values()}:
            with opened(file) as archive:
                weights |= {ours: archive.read(name).float() for ours, (at, name) in places.items() if at == file}
        network.load_state_dict(weights, assign=True)
        network.requires_grad_(False)
