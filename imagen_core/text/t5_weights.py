"""Which files make up a T5 encoder, and where in them is each weight? Names are transformers', whatever the file's."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from .._foreign import what_is
from .._weight_files import all_there, weight_sets
from .archives import Archive, GgufArchive, SafetensorsArchive, open_archive
from .stored_weight import StoredWeight
from .t5_config import T5Config, config_from_json, config_from_shapes, expected_shapes

_MARK = "encoder.block.0.layer.0.SelfAttention.q.weight"  # what every T5 file has; may follow a prefix
_LLAMA_CPP = {  # the names of llama.cpp, which published .gguf files use
    "token_embd": "shared",
    "enc.output_norm": "encoder.final_layer_norm",
    "attn_norm": "layer.0.layer_norm",
    "attn_q": "layer.0.SelfAttention.q",
    "attn_k": "layer.0.SelfAttention.k",
    "attn_v": "layer.0.SelfAttention.v",
    "attn_o": "layer.0.SelfAttention.o",
    "attn_rel_b": "layer.0.SelfAttention.relative_attention_bias",
    "ffn_norm": "layer.1.layer_norm",
    "ffn_gate": "layer.1.DenseReluDense.wi_0",
    "ffn_up": "layer.1.DenseReluDense.wi_1",
    "ffn_down": "layer.1.DenseReluDense.wo",
}


class WeightsOnDisk(Mapping[str, StoredWeight]):
    """Every look-up reads the file; nothing is remembered. `places`: the archive and its own name for each weight."""

    def __init__(self, places: Mapping[str, tuple[Archive, str]]) -> None:
        self.places = dict(places)

    def __getitem__(self, name: str) -> StoredWeight:
        archive, stored_name = self.places[name]
        return archive.read(stored_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: archive.shapes[stored_name] for name, (archive, stored_name) in self.places.items()}

    @property
    def files(self) -> list[Path]:
        return list({archive.path: None for archive, _ in self.places.values()})


class WeightsInMemory(Mapping[str, StoredWeight]):
    """Each weight is read at its first use and kept, in main memory and as stored."""

    def __init__(self, source: WeightsOnDisk) -> None:
        self.source = source
        self._kept: dict[str, StoredWeight] = {}

    def __getitem__(self, name: str) -> StoredWeight:
        if name not in self._kept:
            self._kept[name] = self.source[name]
        return self._kept[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.source)

    def __len__(self) -> int:
        return len(self.source)

    @property
    def nbytes(self) -> int:
        """The bytes kept so far."""
        return sum(weight.nbytes for weight in self._kept.values())

    def clear(self) -> None:
        """Give the memory back; the next use reads the files again."""
        self._kept.clear()


def weight_files(folder: Path, variant: str | None = None) -> list[Path]:
    """model.safetensors or its shards; of `variant` ("fp16": model.fp16...), or of the only variant there is.

    Raises FileNotFoundError where there is none, ValueError naming a missing shard, and for a pickle.
    """
    sets = {each.infix: each.files for each in weight_sets(folder, "model", ".safetensors")}
    sets.pop("8bit", None)  # bitsandbytes' integers
    chosen = variant or next(iter(sets), "")  # "" is the first of them
    if chosen in sets:
        return all_there(sets[chosen])
    if any(folder.glob("*.bin")):
        raise ValueError(f"{folder} holds weights as a pickle (.bin), which is refused: get model.safetensors instead")
    wanted = "model.safetensors" if variant is None else f"model.{variant}.safetensors"
    raise FileNotFoundError(f"{folder} has no {wanted}: put the encoder's weights there")


def is_encoder(archive: Archive) -> bool:
    """Whether a T5 encoder is in the file, perhaps among other models."""
    bias = _MARK.replace(".q.", ".relative_attention_bias.")
    return any(key.endswith(bias) for key in archive.shapes)


def names_in(archive: Archive) -> dict[str, str]:
    """The encoder's weights in one file: transformers' name to the file's own. Others (a decoder's) are left out."""
    if isinstance(archive, GgufArchive) and "token_embd.weight" in archive.shapes:
        return {ours: name for name in archive.shapes if (ours := _from_llama_cpp(name, archive.shapes)) is not None}
    prefix = next((key.removesuffix(_MARK) for key in archive.shapes if key.endswith(_MARK)), "")
    names = {key.removeprefix(prefix): key for key in archive.shapes if key.startswith(prefix)}
    if "encoder.embed_tokens.weight" in names:  # the tied table goes by either name
        names.setdefault("shared.weight", names["encoder.embed_tokens.weight"])
    return {ours: name for ours, name in names.items() if ours == "shared.weight" or ours.startswith("encoder.")}


def _from_llama_cpp(name: str, shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    layer = re.fullmatch(r"enc\.blk\.(\d+)\.(\w+)\.weight", name)
    short = layer[2] if layer else name.removesuffix(".weight")
    ours = _LLAMA_CPP.get(short)
    if ours is None:
        return None
    if layer and short == "ffn_up" and f"enc.blk.{layer[1]}.ffn_gate.weight" not in shapes:
        ours = "layer.1.DenseReluDense.wi"  # T5 1.0 has no gate
    return f"encoder.block.{layer[1]}.{ours}.weight" if layer else f"{ours}.weight"


def open_weights(files: list[Path], config_file: Path | None = None) -> tuple[WeightsOnDisk, T5Config]:
    """Open the encoder's files, read its config (from `config_file`, or the shapes), and check every name and shape.

    Only headers are read. Raises FileNotFoundError or ValueError naming the file and key.
    """
    archives = [open_archive(file) for file in files]
    _check_architecture(archives[0])
    _check_kind(archives)
    places = {ours: (archive, name) for archive in archives for ours, name in names_in(archive).items()}
    weights = WeightsOnDisk(places)
    if config_file is None:
        config = config_from_shapes(weights.shapes, files[0], _epsilon(archives[0]))
    else:
        config = config_from_json(config_file)
    expected = expected_shapes(config)
    check_present(expected, places, files[0])
    if _MARK.replace("block.0", "block.1").replace("q.weight", "relative_attention_bias.weight") in places:
        raise ValueError(f"{files[0]} is a umT5 encoder (a position bias in every block), not T5: get a T5 file")
    return checked_weights(expected, places), config


def check_present(
    expected: Mapping[str, tuple[int, ...]], places: Mapping[str, tuple[Archive, str]], file: Path
) -> None:
    """Raise ValueError naming the first weight that an encoder needs and its files lack."""
    if absent := expected.keys() - places.keys():
        raise ValueError(f"{file} lacks {len(absent)} of its encoder's weights, first {min(absent)!r}: get it again")


def checked_weights(
    expected: Mapping[str, tuple[int, ...]], places: Mapping[str, tuple[Archive, str]]
) -> WeightsOnDisk:
    """The expected weights, once each has its shape and a form that can be read. ValueError naming file and key."""
    for name, shape in expected.items():
        archive, stored_name = places[name]
        if archive.shapes[stored_name] != shape:
            raise ValueError(
                f"{archive.path}: {stored_name!r} has shape {archive.shapes[stored_name]}, the encoder asks for {shape}; "
                "get matching files"
            )
        archive.check(stored_name)
    return WeightsOnDisk({name: places[name] for name in expected})


def _check_architecture(archive: Archive) -> None:
    if isinstance(archive, GgufArchive):
        kind = archive.metadata.get("general.architecture")
        if kind not in ("t5", "t5encoder", None):
            raise ValueError(f"{archive.path} holds a {kind!r} model: Imagen reads prompts with a T5 encoder")


def _check_kind(archives: list[Archive]) -> None:
    """Call what is no T5 encoder, and a form that is not read, by its name."""
    for archive in archives:
        if isinstance(archive, SafetensorsArchive):
            archive.check_form()
    if not any(is_encoder(archive) or "token_embd.weight" in archive.shapes for archive in archives):
        known = what_is({name: shape for archive in archives for name, shape in archive.shapes.items()})
        if known is not None and known != "a T5 text encoder":
            raise ValueError(
                f"{archives[0].path} is {known}, and Imagen Load Text Encoder takes a T5 encoder: choose another, such as "
                "t5xxl_fp16"
            )


def _epsilon(archive: Archive) -> float:
    if isinstance(archive, GgufArchive):
        kind = archive.metadata.get("general.architecture")
        return float(archive.metadata.get(f"{kind}.attention.layer_norm_rms_epsilon") or 1e-6)
    return 1e-6


def fingerprint(files: list[Path]) -> str:
    """What changes when the files do: each one's size, time of change, and a hash of its first and last MiB.

    Not the whole content: reading 5 GB would take longer than encoding. The first MiB holds the header.
    """
    digest = hashlib.sha256()
    for file in files:
        status = file.stat()
        digest.update(f"{status.st_size}:{status.st_mtime_ns}:".encode())
        with open(file, "rb") as stream:
            digest.update(stream.read(2**20))
            stream.seek(max(status.st_size - 2**20, 0))
            digest.update(stream.read(2**20))
    return digest.hexdigest()
