"""How does a CLIP come from what people have on disk: a transformers folder, an OpenCLIP folder, or a single file?"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch

from .._walk import find_models
from ..text.archives import open_archive
from ..text.t5_config import read_json
from ..text.t5_weights import weight_files
from ..text.tokenizer import Tokenizer, find_tokenizer
from .config import ACTIVATIONS, KINDS, ClipConfig, clip_config
from .model import Clip
from .names import Place, activation_of, places_in, towers_in
from .network import ClipNetwork

OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors")


def load_clip(
    path: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    tokenizer_places: Iterable[str | os.PathLike[str]] = (),
    dtype: torch.dtype = torch.float32,
    activation: str = "auto",
    towers: Iterable[str] = ("text", "vision"),
) -> Clip:
    """Load the towers that a file or folder holds, on the CPU, fit to be differentiated through.

    path: a transformers folder (CLIPModel, CLIPTextModel, CLIPVisionModel, with or without projection), an OpenCLIP
        folder (open_clip_config.json), or one .safetensors under any of the four schemes of names (see `names`).
    tokenizer: tokenizer.json, vocab.json beside its merges.txt, or a folder with one. None: the folder's own, else
        beside the file, else the first of `tokenizer_places` that fits; a CLIP without text needs none.
    activation: "quick_gelu" (OpenAI's weights), "gelu" (OpenCLIP's), or "auto": what a config says, else told from the
        file, see `activation_of`. towers: which of those that are there are read.
    Raises FileNotFoundError for a missing file, ValueError naming a file that is damaged, of another model or a pickle.
    """
    path = Path(path)
    network = load_clip_network(path, dtype=dtype, activation=activation, towers=towers)
    text = network.config.text
    if text is None:
        return Clip(network, None)
    here = [path, path / "tokenizer"] if path.is_dir() else [path.parent, path.parent / "tokenizer"]
    places = [Path(tokenizer)] if tokenizer is not None else [*here, *map(Path, tokenizer_places)]
    return Clip(network, find_clip_tokenizer(places, text.vocab_size, path)[0])


def find_clip_tokenizer(places: Iterable[Path], vocab_size: int, file: Path) -> tuple[Tokenizer, Path]:
    """The first of `places` with a tokenizer of that size, and its file. FileNotFoundError where none fits."""
    try:
        return find_tokenizer(places, vocab_size, file)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{file} has no tokenizer: put CLIP's tokenizer.json, or its vocab.json and merges.txt, beside it; OpenAI's and "
            "OpenCLIP's all share one, as openai/clip-vit-large-patch14 has it"
        ) from error


def load_clip_network(
    path: Path, *, dtype: torch.dtype, activation: str = "auto", towers: Iterable[str] = ("text", "vision")
) -> ClipNetwork:
    """The network alone. Only the tensors of the towers asked for are read."""
    config, places = open_clip(path, activation=activation)
    file = next(iter(places.values())).archive.path
    return _filled(_of_towers(config, set(towers), file), places, file, dtype)


def open_clip(path: Path, *, activation: str = "auto") -> tuple[ClipConfig, dict[str, Place]]:
    """What a CLIP is and where its weights are, from headers alone."""
    if activation not in ("auto", *ACTIVATIONS):
        raise ValueError(f"activation is {activation!r}: expected auto or one of {', '.join(ACTIVATIONS)}")
    files, told = _files(path)
    archives = [open_archive(file) for file in files]
    places = places_in(archives)
    if not places:
        raise ValueError(f"{files[0]} holds no CLIP tower under any names that are known here: choose another file")
    chosen = _activation(path, archives[0], places) if activation == "auto" else activation
    config = clip_config({name: place.shape for name, place in places.items()}, file=told, activation=chosen)
    return config if activation == "auto" else _with_activation(config, activation), places


def find_clips(folder: Path) -> Iterator[Path]:
    """Every whole CLIP under `folder`, in order of name: folders and single files with both towers."""
    return find_models(folder, _is_whole, _is_whole)


def _is_whole(path: Path) -> bool:
    try:
        if path.is_dir():
            return (path / OPEN_CLIP[0]).is_file() or read_json(path / "config.json").get("model_type") == "clip"
        return path.suffix.lower() == ".safetensors" and len(towers_in(open_archive(path).shapes)) == 2
    except (ValueError, OSError):
        return False


def is_clip(path: Path) -> bool:
    """Whether `open_clip` would find a CLIP there; what cannot be read is none."""
    try:
        if path.is_dir():
            return bool(_files(path)[0])
        return path.suffix.lower() == ".safetensors" and bool(towers_in(open_archive(path).shapes))
    except (ValueError, OSError):
        return False


def _files(path: Path) -> tuple[list[Path], Path | None]:
    """The weights' files, and the config.json that describes them if there is one."""
    if path.is_dir() and not (path / "config.json").is_file() and (path / OPEN_CLIP[0]).is_file():
        return [path / OPEN_CLIP[1]], None
    if path.is_dir():
        kind = read_json(path / "config.json").get("model_type")
        if kind not in KINDS:
            raise ValueError(f"{path} is a {kind!r} model, not a CLIP: choose a folder whose config.json says clip")
        return weight_files(path), path / "config.json"
    return [path], None


def _activation(path: Path, archive: object, places: Mapping[str, Place]) -> str:
    beside = (path if path.is_dir() else path.parent) / OPEN_CLIP[0]
    if beside.is_file():
        model = read_json(beside).get("model_cfg") or {}
        return "quick_gelu" if isinstance(model, dict) and model.get("quick_gelu") else "gelu"
    return activation_of(archive, places)


def _with_activation(config: ClipConfig, activation: str) -> ClipConfig:
    towers = {"text": config.text, "vision": config.vision}
    return replace(config, **{name: replace(t, activation=activation) for name, t in towers.items() if t is not None})


def _of_towers(config: ClipConfig, towers: set[str], file: Path) -> ClipConfig:
    kept = {name: getattr(config, name) for name in ("text", "vision")}
    if not any(kept[name] for name in towers):
        raise ValueError(f"{file} holds no CLIP {' or '.join(sorted(towers))} tower: choose another file")
    return replace(config, **{name: None for name in kept if name not in towers})


def _filled(config: ClipConfig, places: Mapping[str, Place], file: Path, dtype: torch.dtype) -> ClipNetwork:
    """The network with its weights; hosts load in inference mode, whose tensors autograd would refuse."""
    with torch.inference_mode(False):
        with torch.device("meta"):
            network = ClipNetwork(config)
        weights = {}
        for name, wanted in network.state_dict().items():
            place = places.get(name)
            if place is None:
                raise ValueError(f"{file} lacks {name!r} of its CLIP: get it again")
            if place.shape != tuple(wanted.shape):
                raise ValueError(
                    f"{file}: {place.name!r} has shape {place.shape}, the CLIP asks for {tuple(wanted.shape)}"
                )
            place.archive.check(place.name)
            weights[name] = place.read(dtype)
        network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)
