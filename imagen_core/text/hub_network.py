"""How does any other encoder read a prompt (mT5, umT5, ModernBERT, ...)? Through transformers, imported only then.

T5 and BERT are this pack's own (`t5_network`, `bert_network`): their weights rest as stored. Here they rest as
transformers loads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .own_network import Batch, checked, visiting

OWN_KINDS = ("t5", "bert")


@dataclass(frozen=True, kw_only=True)
class HubConfig:
    """What an encoder's tokens and rows are, as transformers says."""

    vocab_size: int  # rows of the table of embeddings
    d_model: int  # width of a prompt's embeddings
    pad_token_id: int  # fills a batch of prompts up to the longest
    prefix_ids: tuple[int, ...]  # marks before a text
    eos_token_id: int  # the mark after it


class HubTokenizer:
    """transformers' tokenizer as this pack's `Tokenizer`: without marks, which the encoder adds."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.size: int = len(tokenizer)
        self.unknown: int | None = getattr(tokenizer, "unk_token_id", None)

    def ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False, verbose=False)

    def text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)


class HubNetwork:
    """network(batches) -> one (b l d) a batch: the last hidden states of a transformers model.

    Its weights rest in main memory, and visit `device` while prompts are read.
    """

    visits = True  # False: a host moves it

    def __init__(
        self, model: Any, config: HubConfig, file: Path, *, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        self.model, self.config, self.file, self.dtype = model.to(dtype).eval(), config, file, dtype
        self.device = torch.device(device)

    @property
    def module(self) -> Any:
        """What a host moves whose affair that is (see `movable`)."""
        return self.model

    @torch.no_grad()
    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]:
        with visiting(self):
            hidden = [self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state for ids, mask in batches]
        return checked(hidden, self.file, self.model.state_dict().items())


def load_hub_encoder(
    path: Path, kind: str, *, device: torch.device | str, dtype: torch.dtype
) -> tuple[HubNetwork, HubTokenizer]:
    """The encoder of a folder whose config.json names another model than ours; nothing is downloaded or run from it.

    ValueError: transformers is missing, does not know the kind, or cannot read the folder.
    """
    try:
        from transformers import AutoModel, AutoModelForTextEncoding, AutoTokenizer
    except ImportError as error:
        raise ValueError(
            f"{path} is a {kind!r} encoder, which is read through transformers: pip install transformers"
        ) from error
    options = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
        try:
            model = AutoModelForTextEncoding.from_pretrained(path, use_safetensors=True, **options)
        except ValueError:  # a kind without an encoder class of its own
            model = AutoModel.from_pretrained(path, use_safetensors=True, **options)
    except (ValueError, OSError, KeyError, ImportError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"{path} ({kind!r}) cannot be read by transformers: {reason}") from error
    return HubNetwork(model, _config(path, model, tokenizer), path, device=device, dtype=dtype), HubTokenizer(tokenizer)


def _config(path: Path, model: Any, tokenizer: Any) -> HubConfig:
    marks = tokenizer.encode("", add_special_tokens=True)
    if not 1 <= len(marks) <= 2:
        raise ValueError(f"{path}: its tokenizer puts {len(marks)} marks around a text, expected one or two")
    width = getattr(model.config, "d_model", None) or getattr(model.config, "hidden_size", None)
    if not isinstance(width, int):
        raise ValueError(f"{path}: its config states neither d_model nor hidden_size")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else marks[-1]
    return HubConfig(
        vocab_size=model.get_input_embeddings().num_embeddings,
        d_model=width,
        pad_token_id=pad,
        prefix_ids=tuple(marks[:-1]),
        eos_token_id=marks[-1],
    )
