"""How is a prompt read? By a frozen T5 encoder (Imagen, arXiv 2205.11487, section 2.1), from files, never downloaded.

Shapes: b prompts, l tokens, d text width.
"""

from __future__ import annotations

import json
import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..conditioning import TextEmbeds
from .cache import EncodedPrompts

if TYPE_CHECKING:
    from transformers import T5EncoderModel

DEFAULT_MAX_TOKENS = 512  # T5 was trained at 512; its relative positions have no hard end


class Tokenizer(Protocol):
    """Text to token ids and back, without special tokens."""

    def ids(self, text: str) -> list[int]: ...

    def text(self, ids: list[int]) -> str: ...


class _JsonTokenizer:
    """tokenizer.json, read by the `tokenizers` library."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as FastTokenizer

        try:
            self._tokenizer = FastTokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{path} cannot be read as a tokenizer ({error}); download or copy it again.") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)


class _SentencePieceTokenizer:
    """spiece.model, read by the `sentencepiece` library."""

    def __init__(self, path: Path) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise ValueError(f"{path} needs the sentencepiece package: `pip install sentencepiece`.") from error
        try:
            self._processor = SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a tokenizer ({error}); download or copy it again.") from error

    def ids(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def text(self, ids: list[int]) -> str:
        return self._processor.decode(ids)


class T5TextEncoder:
    """encoder.encode(texts) -> TextEmbeds. Repeated prompts come from memory.

    model: the transformers module. embed_dim: d. max_tokens: longest prompt, its end mark included.
    """

    def __init__(
        self,
        model: T5EncoderModel,
        tokenizer: Tokenizer,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        remember: int = 64,
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.embed_dim: int = model.config.d_model
        self.remembered = EncodedPrompts(remember)

    @staticmethod
    def from_folder(
        path: str | os.PathLike[str], *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> T5TextEncoder:
        """Load a Hugging Face folder: config.json, model*.safetensors, tokenizer.json or spiece.model.

        Decoder weights, if any, are left on the disk. Raises FileNotFoundError for a missing folder or file, ValueError
        naming a file that cannot be read, a key that is missing or of a wrong shape, or weights that are a pickle.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise FileNotFoundError(f"No text encoder folder at {folder}; check the name, or put the folder there.")
        tokenizer = _load_tokenizer(folder)
        model = _load_model(_weight_files(folder), _read_config(folder / "config.json"), dtype)
        return T5TextEncoder(model.to(device), tokenizer, max_tokens=_max_tokens(folder))

    @property
    def device(self) -> torch.device:
        return self.model.shared.weight.device

    def to(self, device: torch.device | str) -> T5TextEncoder:
        """Move the model (remembered prompts stay on the CPU); returns self."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode(self, texts: Sequence[str], max_length: int | None = None) -> TextEmbeds:
        """Encode prompts: embeds (b l d) float32 on the encoder's device, mask (b l), l the longest prompt's tokens.

        Rows past a prompt's end are zero and masked. An empty prompt is its end mark alone. A prompt longer than
        `max_length` (at most `max_tokens`, the default) is cut with a warning that says where. ValueError for no texts.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ValueError(f"encode takes a list of at least one prompt; got {texts!r}.")
        limit = self._limit(max_length)
        keys = [(text, limit) for text in texts]
        known = {key: encoding for key in keys if (encoding := self.remembered.get(key)) is not None}
        fresh = self._encode_ids({key: self._token_ids(*key) for key in self.remembered.missing(keys)})
        for key, encoding in fresh.items():
            self.remembered.put(key, encoding)
        return self._padded([(known | fresh)[key] for key in keys])

    def _limit(self, max_length: int | None) -> int:
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length is {max_length}; expected at least 1, the end mark.")
        return min(max_length or self.max_tokens, self.max_tokens)

    def _token_ids(self, text: str, limit: int) -> list[int]:
        """Ids closed by the end mark, at most `limit` of them."""
        readable = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no character
        ids = self.tokenizer.ids(readable)
        if len(ids) >= limit:
            ids = ids[: limit - 1]
            kept = self.tokenizer.text(ids)[-40:]
            warnings.warn(
                f"The prompt is longer than the {limit} tokens that are read; it was cut after {kept!r}.", stacklevel=3
            )
        return [*ids, self.model.config.eos_token_id]

    def _encode_ids(self, ids: dict[Any, list[int]]) -> dict[Any, Tensor]:
        """Encodings (l d) on the CPU. Prompts of one length share a batch: padding costs and changes nothing."""
        by_length: dict[int, list[Any]] = defaultdict(list)
        for key, tokens in ids.items():
            by_length[len(tokens)].append(key)
        encodings: dict[Any, Tensor] = {}
        for keys in by_length.values():
            tokens = torch.tensor([ids[key] for key in keys], device=self.device)  # b l
            hidden = self.model(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state
            encodings.update(zip(keys, hidden.float().cpu(), strict=True))
        return encodings

    def _padded(self, encodings: list[Tensor]) -> TextEmbeds:
        lengths = torch.tensor([len(encoding) for encoding in encodings])
        embeds = torch.nn.utils.rnn.pad_sequence(encodings, batch_first=True)  # b l d, zeros past the end
        mask = torch.arange(embeds.shape[1]) < lengths[:, None]
        return TextEmbeds(embeds=embeds.to(self.device), mask=mask.to(self.device))


def _load_tokenizer(folder: Path) -> Tokenizer:
    if (folder / "tokenizer.json").is_file():
        return _JsonTokenizer(folder / "tokenizer.json")
    if (folder / "spiece.model").is_file():
        return _SentencePieceTokenizer(folder / "spiece.model")
    raise FileNotFoundError(f"{folder} has neither tokenizer.json nor spiece.model; add the encoder's own tokenizer.")


def _weight_files(folder: Path) -> list[Path]:
    """model.safetensors, or its shards model-00001-of-0000n.safetensors."""
    files = [folder / "model.safetensors"] if (folder / "model.safetensors").is_file() else []
    files = files or sorted(folder.glob("model-*-of-*.safetensors"))
    if files:
        return files
    if any(folder.glob("*.bin")):
        raise ValueError(f"{folder} holds weights as a pickle (.bin), which is refused; get model.safetensors instead.")
    raise FileNotFoundError(f"{folder} has no model.safetensors; put the encoder's weights there.")


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; a text encoder's folder needs it.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); download or copy it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}, expected an object; download or copy it again.")
    return content


def _read_config(path: Path) -> dict[str, Any]:
    config = _read_json(path)
    kind = config.get("model_type", "t5")
    if kind != "t5":
        raise ValueError(f"{path} describes a {kind!r} model; Imagen reads prompts with a T5 encoder.")
    return config


def _max_tokens(folder: Path) -> int:
    """The tokenizer's stated limit; absent, or "very large" for none, it is DEFAULT_MAX_TOKENS."""
    path = folder / "tokenizer_config.json"
    stated = _read_json(path).get("model_max_length") if path.is_file() else None
    return int(stated) if isinstance(stated, (int, float)) and 1 <= stated <= 100_000 else DEFAULT_MAX_TOKENS


def _load_model(files: list[Path], config: dict[str, Any], dtype: torch.dtype) -> T5EncoderModel:
    """The encoder, its weights mapped from `files` one by one (so memory holds it once)."""
    from transformers import T5Config, T5EncoderModel

    with torch.device("meta"):
        model = T5EncoderModel(T5Config(**config))
    expected = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    weights: dict[str, Tensor] = {}
    for file in files:
        weights.update(_read_weights(file, expected, dtype))
    embedding = weights.get("shared.weight", weights.get("encoder.embed_tokens.weight"))
    if embedding is not None:  # a file stores the tied table once, under either name
        weights["shared.weight"] = weights["encoder.embed_tokens.weight"] = embedding
    absent = expected.keys() - weights.keys()
    if absent:
        raise ValueError(
            f"{files[0]} lacks {len(absent)} weights of its config.json, first {min(absent)!r}; get it again."
        )
    model.load_state_dict(weights, assign=True)
    model.encoder.embed_tokens.weight = model.shared.weight
    return model


def _read_weights(file: Path, expected: dict[str, tuple[int, ...]], dtype: torch.dtype) -> dict[str, Tensor]:
    """The encoder's tensors of one file; others (a decoder's) are not read."""
    weights: dict[str, Tensor] = {}
    try:
        with safe_open(file, framework="pt", device="cpu") as archive:
            for key in expected.keys() & set(archive.keys()):
                shape = tuple(archive.get_slice(key).get_shape())
                if shape != expected[key]:
                    raise ValueError(
                        f"{file}: {key!r} has shape {shape}, config.json asks for {expected[key]}; match them."
                    )
                # T5's feed-forward output overflows in fp16 (transformers keeps it in fp32 too).
                precise = dtype == torch.float16 and ".wo." in key
                weights[key] = archive.get_tensor(key).to(torch.float32 if precise else dtype)
    except SafetensorError as error:
        raise ValueError(
            f"{file} is truncated, or no .safetensors file ({error}); download or copy it again."
        ) from error
    return weights
