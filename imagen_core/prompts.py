"""What becomes of what somebody typed? How a prompt is read belongs to the stage that reads it, not to the encoder."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace

from torch import Tensor

from .conditioning import TextEmbeds, part_of
from .text.captions import prepared
from .text.reading import AS_DEEPFLOYD, TextReading
from .text.t5 import T5TextEncoder


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """An encoded prompt and what guidance steers away from: a negative prompt, or None for zeroed embeddings.

    image_embed: CLIP's embeddings (b e) of what is to be seen, for a stage that draws such (unCLIP); None without one.
    """

    text: TextEmbeds
    negative: TextEmbeds | None = None
    image_embed: Tensor | None = None

    def as_read(self, reading: TextReading) -> Prompt:
        """Itself, whatever a stage would like: it has been read."""
        return self


class TypedPrompt:
    """A prompt as it was typed, which each stage reads its own way, once.

    Once it has been read it holds its encoder no longer, so that a host may forget that before it samples; for a stage
    that reads otherwise the encoder is opened again.
    """

    def __init__(self, encoder: T5TextEncoder, text: str, negative_text: str = "", *, clean: str = "auto") -> None:
        self.text, self.negative_text, self.clean = text, negative_text, clean  # clean: see `captions.prepared`
        self._encoder: T5TextEncoder | None = encoder
        self._known, self._reopen = weakref.ref(encoder), encoder.reopen
        self._read: dict[TextReading, Prompt] = {}

    def as_read(self, reading: TextReading) -> Prompt:
        """Encoded as a stage reads it. Warns where a long text was cut."""
        if reading not in self._read:
            encoder = self._encoder or self._known() or self._reopen()
            self._read[reading] = _encoded(encoder, (self.text, self.negative_text), reading, self.clean)
            if self._reopen is not None:
                self._encoder = None
        return self._read[reading]


@dataclass(frozen=True, kw_only=True)
class PicturedPrompt:
    """A prompt, typed or encoded, and CLIP's embeddings (b e) of what is to be seen."""

    prompt: Prompt | TypedPrompt
    image_embed: Tensor

    def as_read(self, reading: TextReading) -> Prompt:
        """Encoded as a stage reads it, with the embeddings."""
        return replace(self.prompt.as_read(reading), image_embed=self.image_embed)


Asked = Prompt | TypedPrompt | PicturedPrompt  # whatever a stage reads


def encode_prompt(
    text_encoder: T5TextEncoder,
    text: str,
    negative_text: str = "",
    *,
    pad_to: int | None = None,
    clean: str = "auto",
) -> Prompt:
    """Encode one prompt and what to steer away from. Warns where a long text was cut.

    Without `pad_to`, an empty negative text is None: the null prompt, zeroed embeddings. With it (77), both are read as
    DeepFloyd IF was trained: lower case, no blanks at the ends, exactly `pad_to` tokens, and T5's own "" as the null.
    clean: whether both are cleaned as IF's captions were: "on", "off", or "auto": where there is `pad_to`.
    """
    reading = TextReading() if pad_to is None else replace(AS_DEEPFLOYD, tokens=pad_to)
    return _encoded(text_encoder, (text, negative_text), reading, clean)


def typed_prompt(
    text_encoder: T5TextEncoder, text: str, negative_text: str = "", *, padding: str = "auto", clean: str = "auto"
) -> Prompt | TypedPrompt:
    """A prompt that waits for its stage with padding "auto"; else encoded now: "none", or a number of tokens as text."""
    if padding == "auto":
        return TypedPrompt(text_encoder, text, negative_text, clean=clean)
    if padding != "none" and not (padding.isdecimal() and int(padding) > 0):
        raise ValueError(f"padding is {padding!r}: expected auto, none, or a number of tokens such as 77")
    pad_to = None if padding == "none" else int(padding)
    return encode_prompt(text_encoder, text, negative_text, pad_to=pad_to, clean=clean)


def _encoded(encoder: T5TextEncoder, typed: tuple[str, str], reading: TextReading, clean: str) -> Prompt:
    text, negative = (prepared(each, reading, clean=clean) for each in typed)
    texts = [text] if reading.null == "zeros" and not negative.strip() else [text, negative]
    if reading.tokens is None:  # each alone: what one gives must not depend on how long the other is
        read = [encoder.encode([each]) for each in texts]
    else:
        both = encoder.encode(texts, pad_to=reading.tokens)
        read = [part_of(both, slice(i, i + 1)) for i in range(len(texts))]
    return Prompt(text=read[0], negative=read[1] if len(read) > 1 else None)
