"""How does a text encoder come from what people have on disk: a folder, or a single .safetensors or .gguf file?"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from ..clip.config import KINDS as CLIP_KINDS
from ..clip.names import towers_in
from ..clip.text_encoder import load_clip_text_encoder, pooling_of
from .archives import open_archive
from .bert_config import BertConfig, bert_config_from_json
from .bert_network import BertNetwork
from .bert_weights import open_bert_weights
from .byte_pairs import KIND as BYTE_PAIRS
from .byte_pairs import load_byte_pairs
from .hub_network import OWN_KINDS, load_hub_encoder
from .prompt_files import PromptFiles, cache_directory
from .t5 import T5TextEncoder
from .t5_config import DEFAULT_MAX_TOKENS, T5Config, read_json
from .t5_network import T5Network
from .t5_weights import WeightsInMemory, WeightsOnDisk, fingerprint, is_encoder, open_weights, weight_files
from .tokenizer import Tokenizer, find_tokenizer, load_tokenizer, tokenizer_file, tokenizer_of_gguf

LARGE = 2**30  # bytes of files: an encoder above it is read from the disk each time, and its prompts are kept there
MOST_TOKENS = 100_000  # a tokenizer that states more means that it knows no limit
KEEP = ("auto", "memory", "disk")
PROMPT_CACHE = ("auto", "on", "off")


def load_text_encoder(
    path: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] | None = None,
    tokenizer_places: Iterable[str | os.PathLike[str]] = (),
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    keep: str = "auto",
    variant: str | None = None,
    prompt_cache: str = "off",
    on_layer: Callable[[int, int], None] | None = None,
) -> T5TextEncoder:
    """Open a T5, a BERT, a CLIP's text tower, a vocabulary alone, or what else transformers knows. T5 and BERT: headers are
    read and checked now; a weight is read when a prompt first needs it.

    path: a Hugging Face folder (config.json, model*.safetensors or shards, in whatever float type or int8 with a scale
        a row; tokenizer in it or in the `tokenizer` folder beside it), a pipeline's folder with such a text_encoder/ in
        it, one T5's .safetensors (t5xxl_fp16, t5xxl_fp8_e4m3fn, scaled fp8) or .gguf, or a CLIP's (clip_l; `load_clip`);
        or a folder of byte pairs, for networks that read token ids themselves (`byte_pairs`).
    tokenizer: tokenizer.json, spiece.model or a folder with one. None: the file's own, else beside it, else the first
        of `tokenizer_places` that fits.
    dtype: of the arithmetic, whatever the file holds. float32 is the default everywhere: T5 runs once a prompt.
    keep: where weights rest between prompts: "memory" (main memory, as stored), "disk" (nowhere else: every prompt
        reads the files, one weight at a time), or "auto": disk for files above 1 GiB.
    variant: the infix of a folder's files ("fp16"). None: the files without one, else the variant that is there.
    prompt_cache: whether encoded prompts are kept on the disk between runs, in `cache_directory()`: "on", "off", or
        "auto": for files above 1 GiB. A small encoder reads a prompt about as fast as a file with its encoding.
    on_layer: told, for files above 1 GiB, after each layer (done, of how many); may raise to stop.
    Raises FileNotFoundError for a missing file, ValueError naming a file that is damaged, of another model, or a
    pickle.
    """
    reopen = partial(load_text_encoder, **locals())  # with its own arguments
    given, places = None if tokenizer is None else Path(tokenizer), [Path(place) for place in tokenizer_places]
    path = _place_of(Path(path))
    asked = _Asked(path, given, places, device, dtype, keep, variant, prompt_cache, on_layer, reopen)
    kind = kind_of_folder(path) if path.is_dir() else kind_of_file(path)
    if kind in CLIP_KINDS:
        return _clip_encoder(asked)
    if kind == BYTE_PAIRS:
        network, pieces = load_byte_pairs(path, device=device)
        return T5TextEncoder(network, pieces, max_tokens=MOST_TOKENS, reopen=reopen)
    return _own_encoder(asked, kind) if kind in OWN_KINDS else _hub_encoder(asked, kind)


@dataclass(frozen=True)
class _Asked:
    """The arguments of `load_text_encoder`, and how to call it with them again."""

    path: Path
    tokenizer: Path | None
    tokenizer_places: list[Path]
    device: torch.device | str
    dtype: torch.dtype
    keep: str
    variant: str | None
    prompt_cache: str
    on_layer: Callable[[int, int], None] | None
    reopen: Callable[[], T5TextEncoder]

    def __post_init__(self) -> None:
        for name, choices in (("keep", KEEP), ("prompt_cache", PROMPT_CACHE)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: expected one of {', '.join(choices)}")


def _place_of(path: Path) -> Path:
    """The encoder's own folder or file; of a whole pipeline's folder the encoder in it."""
    if not path.exists():
        raise FileNotFoundError(f"no text encoder at {path}: check the name, or put the file or folder there")
    return path / "text_encoder" if (path / "text_encoder" / "config.json").is_file() else path


def _clip_encoder(asked: _Asked) -> T5TextEncoder:
    path, places = asked.path, asked.tokenizer_places
    places = [path.parent / "tokenizer", *places] if path.is_dir() else places
    clip, pieces = load_clip_text_encoder(
        path, tokenizer=asked.tokenizer, tokenizer_places=places, device=asked.device, dtype=asked.dtype
    )
    longest, pooling = clip.config.max_positions, pooling_of(clip.clip)
    return T5TextEncoder(clip, pieces, max_tokens=longest, reopen=asked.reopen, pooling=pooling)


def _hub_encoder(asked: _Asked, kind: str) -> T5TextEncoder:
    network, pieces = load_hub_encoder(asked.path, kind, device=asked.device, dtype=asked.dtype)
    longest = _max_tokens(asked.path / "tokenizer_config.json")
    return T5TextEncoder(network, pieces, max_tokens=longest, reopen=asked.reopen)


def _own_encoder(asked: _Asked, kind: str) -> T5TextEncoder:
    """Of a kind that is computed here, a weight at a time."""
    if kind == "bert":
        weights, config, pieces, pieces_file = open_bert_folder(asked.path, asked.variant, asked.tokenizer)
    else:
        weights, config = _t5_weights(asked.path, asked.variant)
        pieces, pieces_file = _tokenizer(asked.path, config, asked.tokenizer, asked.tokenizer_places)
    large = is_large(weights.files)
    on_disk = asked.keep == "disk" or (asked.keep == "auto" and large)
    network = (BertNetwork if kind == "bert" else T5Network)(
        config,
        weights if on_disk else WeightsInMemory(weights),
        device=asked.device,
        dtype=asked.dtype,
        on_layer=asked.on_layer if large else None,
    )
    kept = asked.prompt_cache == "on" or (asked.prompt_cache == "auto" and large)
    directory = cache_directory() if kept else None
    used = weights.files + ([] if pieces_file is None else [pieces_file])
    return T5TextEncoder(
        network,
        pieces,
        max_tokens=min(_max_tokens(pieces_file), getattr(config, "max_positions", MOST_TOKENS)),
        files=None if directory is None else PromptFiles(directory),
        fingerprint="" if directory is None else f"{fingerprint(used)} {config}",
        reopen=asked.reopen,
    )


def _t5_weights(path: Path, variant: str | None) -> tuple[WeightsOnDisk, T5Config]:
    return open_weights(weight_files(path, variant), path / "config.json") if path.is_dir() else open_weights([path])


def kind_of_folder(folder: Path) -> str:
    """The model that a folder's config.json describes: "t5", "bert", or another that transformers may know."""
    return str(read_json(folder / "config.json").get("model_type", "t5"))


def kind_of_file(file: Path) -> str:
    """ "clip" for a single .safetensors with a CLIP's text tower and no T5; all others are opened as a T5's."""
    if file.suffix.lower() != ".safetensors":
        return "t5"
    archive = open_archive(file)
    return "clip" if not is_encoder(archive) and "text" in towers_in(archive.shapes) else "t5"


def open_bert_folder(
    folder: Path, variant: str | None = None, wanted: str | os.PathLike[str] | None = None
) -> tuple[WeightsOnDisk, BertConfig, Tokenizer, Path]:
    """Weights, config, tokenizer and its file; [CLS] and [SEP] are what the tokenizer says they are."""
    place = folder if wanted is None else Path(wanted)
    tokens = load_tokenizer(place)
    marks = [tokens.id_of(name) for name in ("[CLS]", "[SEP]")]
    if None in marks:
        raise ValueError(f"{place}: its tokenizer has no [CLS] or [SEP]; use the encoder's own tokenizer.json")
    config = bert_config_from_json(folder / "config.json", (marks[0], marks[1]))
    return open_bert_weights(weight_files(folder, variant), config), config, tokens, tokenizer_file(place) or place


def is_large(files: Iterable[Path]) -> bool:
    """Whether an encoder of these files had better not stay in memory, and its encodings are worth keeping."""
    return sum(file.stat().st_size for file in files) > LARGE


def _tokenizer(path: Path, config: T5Config, wanted: Path | None, places: list[Path]) -> tuple[Tokenizer, Path | None]:
    """The tokenizer and its file (None for a .gguf's own vocabulary)."""
    if wanted is not None:
        return load_tokenizer(wanted), (tokenizer_file(wanted) if wanted.is_dir() else wanted)
    if path.is_dir():
        folder = tokenizer_folder(path) or path
        return load_tokenizer(folder), tokenizer_file(folder)
    if path.suffix.lower() == ".gguf" and (own := tokenizer_of_gguf(open_archive(path))) is not None:
        return own, None
    return find_tokenizer([*_beside(path), *places], config.vocab_size, path)


def tokenizer_folder(folder: Path) -> Path | None:
    """Where a text encoder folder's tokenizer is: in it, or in its sibling (text_encoder_3 and tokenizer_3)."""
    sibling = folder.parent / folder.name.replace("text_encoder", "tokenizer")
    return next((place for place in (folder, sibling) if tokenizer_file(place) is not None), None)


def _beside(file: Path) -> list[Path]:
    named = [file.with_name(f"{file.stem}.{name}") for name in ("tokenizer.json", "spiece.model")]
    return [*named, file.parent, file.parent / "tokenizer"]


def _max_tokens(tokenizer: Path | None) -> int:
    """The limit stated beside the tokenizer; absent, or "very large" for none, it is DEFAULT_MAX_TOKENS."""
    path = None if tokenizer is None else tokenizer.parent / "tokenizer_config.json"
    stated = read_json(path).get("model_max_length") if path is not None and path.is_file() else None
    return int(stated) if isinstance(stated, (int, float)) and 1 <= stated <= MOST_TOKENS else DEFAULT_MAX_TOKENS
