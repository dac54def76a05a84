"""How is a prompt read? By a frozen T5 encoder (Imagen, arXiv 2205.11487, section 2.1), from files, never downloaded.

Shapes: b prompts, l tokens, d text width.
"""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..conditioning import TextEmbeds
from .cache import EncodedPrompts, Encoding
from .t5_weights import DEFAULT_MAX_TOKENS, config_from_weights, load_model, max_tokens, read_config, weight_files
from .tokenizer import Tokenizer, load_tokenizer

if TYPE_CHECKING:
    from transformers import T5EncoderModel

XXL_DIM = 4096  # the width of T5-XXL
IF_TOKENS = 77  # what DeepFloyd IF's networks were trained to read, pads included


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
        tokenizer = load_tokenizer(folder)
        model = load_model(weight_files(folder), read_config(folder / "config.json"), dtype)
        return T5TextEncoder(model.to(device), tokenizer, max_tokens=max_tokens(folder))

    @staticmethod
    def from_file(
        path: str | os.PathLike[str],
        *,
        tokenizer: str | os.PathLike[str],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> T5TextEncoder:
        """Load a single .safetensors file, such as the t5xxl_fp16 or t5xxl_fp8_e4m3fn_scaled that Flux and SD3 use.

        tokenizer: tokenizer.json, spiece.model or a folder with one. Errors as `from_folder`.
        """
        file = Path(path)
        pieces = load_tokenizer(Path(tokenizer))
        return T5TextEncoder(load_model([file], config_from_weights(file), dtype).to(device), pieces)

    @property
    def device(self) -> torch.device:
        return self.model.shared.weight.device

    def to(self, device: torch.device | str) -> T5TextEncoder:
        """Move the model (remembered prompts stay on the CPU); returns self."""
        self.model.to(device)
        return self

    @torch.no_grad()
    def encode(self, texts: Sequence[str], max_length: int | None = None, pad_to: int | None = None) -> TextEmbeds:
        """Encode prompts: embeds (b l d) float32 on the encoder's device, mask (b l), l the longest prompt's tokens.

        Rows past a prompt's end are zero and masked. An empty prompt is its end mark alone. A prompt longer than
        `max_length` (at most `max_tokens`, the default) is cut with a warning that says where. With `pad_to`, as
        DeepFloyd IF reads prompts, l is `pad_to`: longer prompts are cut to it, shorter ones padded before T5 runs with
        its attention mask, and the rows at pads hold what T5 gives there. ValueError for no texts or no length.
        """
        if isinstance(texts, str) or len(texts) == 0:
            raise ValueError(f"encode takes a list of at least one prompt; got {texts!r}.")
        limit = self._limit(max_length, pad_to)
        keys = [(text, limit, pad_to) for text in texts]
        known = {key: encoding for key in keys if (encoding := self.remembered.get(key)) is not None}
        ids = {key: self._token_ids(key[0], limit) for key in self.remembered.missing(keys)}
        fresh = self._encode_ids(ids, pad_to)
        for key, encoding in fresh.items():
            self.remembered.put(key, encoding)
        return self._stacked([(known | fresh)[key] for key in keys])

    def _limit(self, max_length: int | None, pad_to: int | None) -> int:
        for name, length in (("max_length", max_length), ("pad_to", pad_to)):
            if length is not None and length < 1:
                raise ValueError(f"{name} is {length}; expected at least 1, the end mark.")
        return min(max_length or self.max_tokens, pad_to or self.max_tokens, self.max_tokens)

    def padding(self, choice: str = "auto") -> int | None:
        """`pad_to` for a choice: "none", a number of tokens, or "auto": 77 for T5-XXL (IF reads it so), else none."""
        if choice == "auto":
            return IF_TOKENS if self.embed_dim == XXL_DIM else None
        if choice == "none":
            return None
        if not choice.isdecimal() or int(choice) < 1:
            raise ValueError(f"padding is {choice!r}; expected auto, none, or a number of tokens such as {IF_TOKENS}.")
        return int(choice)

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

    def _encode_ids(self, ids: dict[Any, list[int]], pad_to: int | None) -> dict[Any, Encoding]:
        """Prompts of one length share a batch. Pads are there only if `pad_to` asks for what T5 gives at them."""
        by_length: dict[int, list[Any]] = defaultdict(list)
        for key, tokens in ids.items():
            by_length[pad_to or len(tokens)].append(key)
        encodings: dict[Any, Encoding] = {}
        for length, keys in by_length.items():
            counts = [len(ids[key]) for key in keys]
            pad = self.model.config.pad_token_id
            padded = [ids[key] + [pad] * (length - count) for key, count in zip(keys, counts, strict=True)]
            tokens = torch.tensor(padded, device=self.device)  # b l
            mask = torch.arange(length, device=self.device) < torch.tensor(counts, device=self.device)[:, None]  # b l
            hidden = self.model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state.float().cpu()
            for key, row, count in zip(keys, hidden, counts, strict=True):
                encodings[key] = Encoding(embeds=row, tokens=count)
        return encodings

    def _stacked(self, encodings: list[Encoding]) -> TextEmbeds:
        embeds = torch.nn.utils.rnn.pad_sequence([each.embeds for each in encodings], batch_first=True)  # b l d
        counts = torch.tensor([each.tokens for each in encodings])
        mask = torch.arange(embeds.shape[1]) < counts[:, None]
        return TextEmbeds(embeds=embeds.to(self.device), mask=mask.to(self.device))
