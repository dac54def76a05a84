"""How is the T5-XXL inside one of ComfyUI's CLIP objects read as DeepFloyd IF reads its own?

SD3, Flux, PixArt and others share it, each with a habit of its own: unpadded, unmasked, or with no limit of length.
Here every prompt takes the same way as through our encoder, and only the network is ComfyUI's.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ...imagen_core import T5TextEncoder

NAMES = ("t5xxl", "clip_t5xxl")  # what ComfyUI calls it, in a CLIP's model and in its tokenizer
AS_T5_DOES = {"enable_attention_masks": True, "return_attention_masks": False, "zero_out_masked": False}

_remembered: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()  # encodings, for as long as the model is


def text_encoder_of(clip: Any) -> T5TextEncoder:
    """The T5-XXL of a CLIP, behaving as our own encoder. Raises ValueError for a CLIP without one."""
    model, tokenizer = getattr(clip, "cond_stage_model", None), getattr(clip, "tokenizer", None)
    t5, words = _part(model), _part(tokenizer)
    if t5 is None or words is None:
        raise ValueError(
            f"this CLIP holds no T5-XXL ({type(model).__name__}): load t5xxl with a CLIP loader of type sd3, flux or "
            "pixart, or use Imagen Load Text Encoder"
        )
    patches = getattr(clip.patcher, "patches_uuid", "")  # another LoRA, other encodings
    encoder = T5TextEncoder(_HostNetwork(clip, t5), _HostTokenizer(words.tokenizer), fingerprint=str(patches))
    encoder.remembered = _remembered.setdefault(model, encoder.remembered)
    return encoder


def image_embeds_of(clip_vision_output: Any) -> Tensor:
    """CLIP's embeddings of pictures (b e), not normalised, in what the host's CLIP Vision Encode hands on.

    Raises ValueError where its tower has no projection.
    """
    embeds = getattr(clip_vision_output, "image_embeds", None)
    if embeds is None:
        raise ValueError("this CLIP vision model has no projection: load a whole one, such as clip_vision's ViT-L/14")
    return embeds.detach().float().cpu()


def _part(whole: Any) -> Any:
    return next((part for name in NAMES if (part := getattr(whole, name, None)) is not None), None)


class _HostTokenizer:
    """ComfyUI's T5 tokenizer, of transformers."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.size, self.unknown = len(tokenizer), getattr(tokenizer, "unk_token_id", None)

    def ids(self, text: str) -> list[int]:
        return self._tokenizer(text, add_special_tokens=False)["input_ids"]

    def text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)


class _HostNetwork:
    """ComfyUI's T5 as our encoder calls a network: loaded by its memory manager, run under the attention mask."""

    def __init__(self, clip: Any, t5: Any) -> None:
        self._clip, self._t5 = clip, t5
        table = t5.transformer.get_input_embeddings().weight
        special = t5.special_tokens
        self.config = SimpleNamespace(
            vocab_size=table.shape[0],
            prefix_ids=(),
            d_model=table.shape[1],
            eos_token_id=special.get("end", 1),
            pad_token_id=special.get("pad", 0),
        )
        self.device, self.dtype = torch.device("cpu"), torch.float32  # its own affair; encodings come to the CPU

    def __call__(self, batches: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        self._clip.load_model()
        with _reading_as_t5_does(self._t5):
            return [self._t5.encode(ids.tolist())[0].float().cpu() for ids, _ in batches]  # its mask ends after </s>


@contextmanager
def _reading_as_t5_does(t5: Any) -> Iterator[None]:
    """The last layer under the attention mask, whatever model the CLIP was loaded for; then as before."""
    before = {name: getattr(t5, name) for name in AS_T5_DOES}
    t5.reset_clip_options()
    for name, value in AS_T5_DOES.items():
        setattr(t5, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(t5, name, value)
