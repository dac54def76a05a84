"""How is a prompt read? By a frozen encoder, T5 first (Imagen, arXiv 2205.11487, section 2.1), from files, never downloaded.

Shapes: b prompts, l tokens, d text width.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from ..conditioning import TextEmbeds
from .cache import EncodedPrompts, Encoding
from .own_network import Batch
from .prompt_files import PromptFiles, PromptKey
from .t5_config import DEFAULT_MAX_TOKENS
from .tokenizer import Tokenizer


class EncoderConfig(Protocol):
    """What T5Config, BertConfig and HubConfig have in common: width, table, and the marks put around a text."""

    vocab_size: int
    d_model: int
    pad_token_id: int
    prefix_ids: tuple[int, ...]
    eos_token_id: int | None  # None: nothing marks a text's end


class EncoderNetwork(Protocol):
    """network(batches) -> hidden states (b l d), one for each batch of ids (b l) and mask (b l): see T5Network."""

    config: EncoderConfig
    device: torch.device
    dtype: torch.dtype

    def __call__(self, batches: Sequence[Batch]) -> list[Tensor]: ...


class T5TextEncoder:
    """encoder.encode(texts) -> TextEmbeds. Repeated prompts come from memory, and from `files` if given.

    embed_dim: d. max_tokens: longest prompt, its end mark included. fingerprint: names the weights in `files`. reopen: makes
    the same encoder again from its files; None where there are none. pooling: makes of the hidden states at prompts' ends
    (b d) their vectors (b e), `TextEmbeds.pooled`; None where the encoder has none.
    """

    def __init__(
        self,
        network: EncoderNetwork,
        tokenizer: Tokenizer,
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        remember: int = 64,
        files: PromptFiles | None = None,
        fingerprint: str = "",
        reopen: Callable[[], T5TextEncoder] | None = None,
        pooling: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.network, self.tokenizer, self.max_tokens = network, tokenizer, max_tokens
        self.embed_dim: int = network.config.d_model
        self.remembered = EncodedPrompts(remember)
        self.files, self.fingerprint, self.reopen, self.pooling = files, fingerprint, reopen, pooling
        if tokenizer.size > network.config.vocab_size:
            raise ValueError(
                f"the tokenizer knows {tokenizer.size} tokens and the text encoder {network.config.vocab_size}: they do "
                "not belong together; use the encoder's own tokenizer"
            )

    @property
    def device(self) -> torch.device:
        return self.network.device

    def to(self, device: torch.device | str) -> T5TextEncoder:
        """Compute on another device; returns self. Weights rest on the disk or in main memory, wherever it computes."""
        self.network.device = torch.device(device)
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
            raise ValueError(f"encode takes a list of at least one prompt: got {texts!r}")
        limit = self._limit(max_length, pad_to)
        places = getattr(self.network.config, "max_positions", None)  # a tower of 32 has no place for a 33rd pad
        pad_to = pad_to if pad_to is None or places is None else min(pad_to, places)
        keys = [self._key(text, limit, pad_to) for text in texts]
        known = {key: encoding for key in keys if (encoding := self.remembered.get(key)) is not None}
        fresh = self._fetch(self.remembered.missing(keys))
        for key, encoding in fresh.items():
            self.remembered.put(key, encoding)
        return self._stacked([(known | fresh)[key] for key in keys])

    def _key(self, text: str, limit: int, pad_to: int | None) -> PromptKey:
        precision = f"{str(self.network.dtype).removeprefix('torch.')} {self.device.type}"
        return PromptKey(text=text, encoder=self.fingerprint, precision=precision, max_length=limit, pad_to=pad_to)

    def _limit(self, max_length: int | None, pad_to: int | None) -> int:
        for name, length in (("max_length", max_length), ("pad_to", pad_to)):
            if length is not None and length < 1:
                raise ValueError(f"{name} is {length}: expected at least 1, the end mark")
        return min(max_length or self.max_tokens, pad_to or self.max_tokens, self.max_tokens)

    def _fetch(self, keys: list[PromptKey]) -> dict[PromptKey, Encoding]:
        """From the disk what is there; the rest from the network, and onto the disk."""
        ids = {key: self._token_ids(key.text, key.max_length) for key in keys}  # warns where a text is cut
        if self.files is None:
            return self._encode_ids(ids)
        stored = {key: encoding for key in keys if (encoding := self.files.get(key)) is not None}
        fresh = self._encode_ids({key: tokens for key, tokens in ids.items() if key not in stored})
        for key, encoding in fresh.items():
            self.files.put(key, encoding)
        return stored | fresh

    def _token_ids(self, text: str, limit: int) -> list[int]:
        """Ids between the encoder's marks (T5: an end mark; BERT: one at either end), at most `limit` of them."""
        readable = text.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate is no character
        config = self.network.config
        ids = self.tokenizer.ids(readable)
        self._warn_of_unknown(readable, ids)
        ends = () if config.eos_token_id is None else (config.eos_token_id,)
        room = max(0, limit - len(ends) - len(config.prefix_ids))
        if len(ids) > room:
            ids = ids[:room]
            kept = self.tokenizer.text(ids)[-40:]
            warnings.warn(
                f"the prompt is longer than the {limit} tokens that are read; it was cut after {kept!r}", stacklevel=4
            )
        return [*config.prefix_ids, *ids, *ends][-limit:]

    def _warn_of_unknown(self, text: str, ids: list[int]) -> None:
        """A UserWarning naming words that are in no token of the encoder's: another script's, emoji."""
        unknown = self.tokenizer.unknown
        if unknown is not None and unknown in ids:
            words = [word[:20] for word in text.split() if unknown in self.tokenizer.ids(word)] or [text[:20]]
            named = ", ".join(map(repr, words[:3])) + (" and others" if len(words) > 3 else "")
            told = f"the text encoder does not know {named}: say it in English, or choose one that does"
            warnings.warn(told, stacklevel=5)

    def _encode_ids(self, ids: dict[PromptKey, list[int]]) -> dict[PromptKey, Encoding]:
        """Run the network once for all. Without pads, prompts of one length share a batch.

        Padded prompts run side by side instead: what a prompt gives must not depend on its neighbours' rounding.
        """
        if not ids:
            return {}
        groups: dict[object, list[PromptKey]] = defaultdict(list)
        for key, tokens in ids.items():
            groups[len(tokens) if key.pad_to is None else key].append(key)
        hidden = self.network([self._batch([ids[key] for key in keys], keys[0].pad_to) for keys in groups.values()])
        return {
            key: Encoding(embeds=row, tokens=len(ids[key]))
            for keys, rows in zip(groups.values(), hidden, strict=True)
            for key, row in zip(keys, rows.float().cpu(), strict=True)
        }

    def _batch(self, ids: list[list[int]], pad_to: int | None) -> Batch:
        length = pad_to or len(ids[0])
        padded = [tokens + [self.network.config.pad_token_id] * (length - len(tokens)) for tokens in ids]
        counts = torch.tensor([len(tokens) for tokens in ids])
        mask = torch.arange(length) < counts[:, None]  # b l
        return torch.tensor(padded, device=self.device), mask.to(self.device)

    def _stacked(self, encodings: list[Encoding]) -> TextEmbeds:
        embeds = torch.nn.utils.rnn.pad_sequence([each.embeds for each in encodings], batch_first=True)  # b l d
        counts = torch.tensor([each.tokens for each in encodings])
        mask = torch.arange(embeds.shape[1]) < counts[:, None]
        pooled = None if self.pooling is None else self.pooling(embeds[torch.arange(len(counts)), counts - 1])
        return TextEmbeds(embeds=embeds, mask=mask, pooled=pooled).to(self.device, embeds.dtype)
