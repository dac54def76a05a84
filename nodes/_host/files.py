"""Where do model files lie, what are they called in a node's list, and have they changed?"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from ...imagen_core import files_of, find_files
from .which import folder_paths, runtime

PACK_MODELS = Path(__file__).resolve().parents[2] / "models"
EXTENSIONS = {".safetensors", ".gguf", ".json"}  # of what lies under models/imagen

if folder_paths is not None:  # a user's extra_model_paths.yaml may have named folders already
    _named = folder_paths.folder_names_and_paths.get("imagen", ([], set()))[0]
    _ours = [str(Path(folder_paths.models_dir) / "imagen"), str(PACK_MODELS)]
    folder_paths.folder_names_and_paths["imagen"] = ([*dict.fromkeys([*_named, *_ours])], EXTENSIONS)


# ComfyUI's own kinds of model folders in which users keep what our loaders read, after "imagen".
UNET_KINDS = ("diffusion_models", "diffusers")
TEXT_KINDS = ("text_encoders", "diffusers")
CONTROL_KINDS = ("controlnet",)
LORA_KINDS = ("loras",)
FILE_NAME = re.compile(r"[\w][\w .-]{0,99}")  # of a file that a node writes: no folders, nothing hidden
VAE_KINDS = ("vae_approx", "vae")
CLIP_KINDS = ("clip_vision", "text_encoders", "diffusers")
# What graphs of 0.1 name, and what took its place: the old base and the text encoder that it read by ship no longer.
SUCCESSORS = {
    "imagen-mini/base64.safetensors": "imagen-mini/things64.safetensors",
    "imagen-mini/text_encoder": "imagen-mini/things_text_encoder",
}


class ModelNames(list[str]):
    """The names in a node's list. A file that ships no longer counts as listed, by its successor, and is not shown."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or super().__contains__(
            SUCCESSORS.get(name) if isinstance(name, str) else None
        )


def model_folders(*kinds: str) -> list[Path]:
    """Where model files are looked for, in this order: ours, then ComfyUI's folders of these `kinds`."""
    if folder_paths is None:
        return [*map(Path, runtime.get_model_directories()), PACK_MODELS]
    known = [kind for kind in ("imagen", *kinds) if kind in folder_paths.folder_names_and_paths]
    return [*dict.fromkeys(Path(folder) for kind in known for folder in folder_paths.get_folder_paths(kind))]


def stage_names(find: Callable[[Path], Iterable[Path]]) -> list[str]:
    """Names, relative to a model folder and with forward slashes, of the stages that `find` finds in those for U-Nets."""
    return _names_found(find, UNET_KINDS)


def text_encoder_names(find: Callable[[Path], Iterable[Path]]) -> list[str]:
    """Names, as `stage_names` gives them, of what `find` finds in each folder for text encoders."""
    return _names_found(find, TEXT_KINDS)


def control_names(find: Callable[[Path], Iterable[Path]]) -> list[str]:
    """Names, as `stage_names` gives them, of what `find` finds in each folder for ControlNets."""
    return _names_found(find, CONTROL_KINDS)


def lora_names(find: Callable[[Path], Iterable[Path]]) -> list[str]:
    """Names, as `stage_names` gives them, of what `find` finds in each folder for LoRAs."""
    return _names_found(find, LORA_KINDS)


def new_lora_path(name: str) -> Path:
    """A file for a LoRA that is not there yet, called `name` or `name` and a number, where the host keeps LoRAs.

    Raises ValueError for a name that is none.
    """
    if not FILE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a file: use letters, digits, blanks, dots and dashes")
    folder = (
        Path(folder_paths.get_folder_paths("loras")[0]) if folder_paths is not None else model_folders()[0] / "loras"
    )
    numbers = ("", *(f"_{number}" for number in range(2, 10_000)))
    return next(path for suffix in numbers if not (path := folder / f"{name}{suffix}.safetensors").exists())


def clip_names(find: Callable[[Path], Iterable[Path]]) -> list[str]:
    """Names, as `stage_names` gives them, of what `find` finds in each folder for CLIPs."""
    return _names_found(find, CLIP_KINDS)


def vae_names(find: Callable[[Path], Iterable[Path]]) -> list[str]:
    """Names, as `stage_names` gives them, of what `find` finds in each folder for VAEs."""
    return _names_found(find, VAE_KINDS)


def tokenizer_places() -> list[Path]:
    """Files and folders where a T5's tokenizer may lie when none is beside it; ComfyUI ships one of its own."""
    searched = model_folders(*TEXT_KINDS)
    found = [path for folder in searched for path in find_files(folder, "spiece.model", "tokenizer.json", "vocab.json")]
    shipped = [] if folder_paths is None else [Path(folder_paths.base_path, "comfy", "text_encoders", "t5_tokenizer")]
    return [*sorted(found), *shipped]


def _names_found(find: Callable[[Path], Iterable[Path]], kinds: tuple[str, ...]) -> list[str]:
    return ModelNames(
        {path.relative_to(folder).as_posix(): None for folder in model_folders(*kinds) for path in find(folder)}
    )


def model_path(name: str, *kinds: str) -> Path:
    """The full path of a model in `model_folders(*kinds)`; a link in there may lead out of it, a name may not.

    What is not there may have a successor. Raises FileNotFoundError naming the folders searched.
    """
    folders = model_folders(*kinds)
    if ".." not in Path(name).parts and not Path(name).is_absolute():
        for known in (name, SUCCESSORS.get(name, name)):
            for folder in folders:
                if os.path.exists(folder / known):  # False, too, where nobody may look
                    return folder / known
    searched = ", ".join(map(str, folders))
    raise FileNotFoundError(f"no model {name!r} in {searched}: put it there, or choose another in the node's list")


def fingerprint(name: str, *kinds: str) -> str:
    """What changes when a model's files change: their sizes and times, for IS_CHANGED."""
    path = model_path(name, *kinds)
    files = files_of(path) if path.is_file() else find_files(path)
    return ";".join(f"{file.name}:{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)
