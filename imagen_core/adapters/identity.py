"""How is one individual drawn that words cannot name? Its code speaks beside the prompt, and in the prompt's place in a
copy of the network's way down, which sees key points: what it is, and how it stands.

InstantID (arXiv 2401.07519, section 3.3): tokens of an embedding read by decoupled attention, and an IdentityNet, which is a
ControlNet that reads these tokens and no text. There the embedding is a face's. Here it is a code of made-up figures, made
by an encoder that lies in the file; or any encoder's, given as numbers in the picture's place.

Shapes: b images, k references, e a code's numbers, l tokens, d their width, h w pixels.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import Signals, TextEmbeds, Tokens
from ..unets import UNet, UNetConfig
from ._base import Adapter, AdapterConfig, Given
from .code_encoder import CodeEncoder
from .controlnet import ControlNet, ControlNetConfig
from .image_prompt import COMBINE, ReadBeside


@dataclass(frozen=True, kw_only=True)
class IdentityConfig(AdapterConfig):
    """Settings of `Identity`; the others are explained at `AdapterConfig`."""

    tiny: ClassVar[dict[str, Any]] = {
        **{"code": 8, "side": 16, "channels": (8, 8), "tokens": 2, "width": 16, "hidden": 16},
        **{"hint_width": 8, "fine_width": 8},
    }
    kinds: tuple[str, ...] = ("identity",)
    code: int = 64  # numbers of a code
    side: int = 64  # pixels of the square that the encoder sees
    channels: tuple[int, ...] = (48, 64, 96, 128)  # of its convolutions; none: no encoder in the file, codes are given
    tokens: int = 8  # that are read of a code
    width: int = 128  # of a token, as the network reads it beside the text
    hidden: int = 256  # of what brings a code to its tokens
    hint_width: int = 32  # channels of the convolutions that read the key points
    depth: int | None = None  # of a transformer's blocks, how many the IdentityNet copies; None is all
    fine_width: int = 0  # of what reads them for a network's level of fine detail, where it has one; 0: none does


class CodeTokens(nn.Module):
    """A code's direction (k e) -> tokens (k l d), each of its own length as a layer norm leaves it."""

    def __init__(self, config: IdentityConfig) -> None:
        super().__init__()
        self.tokens = config.tokens
        self.in_layer = nn.Linear(config.code, config.hidden)
        self.out_layer = nn.Linear(config.hidden, config.tokens * config.width)

    def forward(self, codes: Tensor) -> Tensor:
        at_length = F.normalize(codes, dim=-1) * codes.shape[-1] ** 0.5  # whatever the length: each number about 1
        tokens = self.out_layer(F.silu(self.in_layer(at_length))).unflatten(1, (self.tokens, -1))
        return F.layer_norm(tokens, tokens.shape[-1:])


class Identity(Adapter):
    """Tokens of a code, beside the text and as all that an IdentityNet reads. The null branch has the key points alone."""

    name: ClassVar[str] = "identity"
    config_cls: ClassVar[type[AdapterConfig]] = IdentityConfig
    takes_hint: ClassVar[bool] = False
    takes_key_points: ClassVar[bool] = True
    frozen: ClassVar[tuple[str, ...]] = ("encoder",)
    taken_over: ClassVar[str | None] = "net.copy"

    def __init__(self, config: IdentityConfig, base: UNetConfig) -> None:
        super().__init__()
        self.config, self.base = config, base
        if base.text_embed_dim is None or base.reads_ids:
            raise ValueError(
                "this network reads no text, or words by number, and an identity's tokens take a text's place: choose a "
                "base that reads what a text encoder says"
            )
        self.encoder = CodeEncoder(config.side, config.channels, config.code) if config.channels else None
        self.code_tokens = CodeTokens(config)
        self.layers = ReadBeside(config.width, base)
        self.as_text = nn.Linear(config.width, base.text_embed_dim, bias=False)  # nothing stays nothing
        copied = {name: getattr(config, name) for name in ("hint_width", "depth", "fine_width")}
        self.net = ControlNet(ControlNetConfig(kinds=("key points",), **copied), base)
        for name in self.net.copy.of_words:
            setattr(self.net.copy, name, None)

    @property
    def reads_embeds(self) -> int | None:
        return self.config.code

    @property
    def reads_pictures(self) -> bool:
        return self.encoder is not None

    def check_reads(self, picture: Tensor) -> None:
        if picture.ndim != 2 and not self.reads_pictures:
            raise ValueError(
                f"this identity reads codes of its own encoder, {self.config.code} wide, and no pictures: connect what that "
                "encoder makes of one to image_embed"
            )
        if picture.ndim == 2 and picture.shape[1] != self.config.code:
            raise ValueError(
                f"these embeddings are {picture.shape[1]} wide, and this identity reads codes {self.config.code} wide: make "
                "them with the encoder that it was trained with"
                + (", or connect a picture" if self.reads_pictures else "")
            )

    def begin_as(self, network: UNet) -> Identity:
        """The weights of the network that it is to steer, in its copy; returns itself."""
        self.net.begin_as(network)
        return self

    def knowing_by(self, encoder: CodeEncoder) -> Identity:
        """Before training: with the weights of an encoder of the same sizes. Returns itself."""
        self.encoder.load_state_dict(encoder.state_dict())
        return self

    def codes(self, picture: Tensor) -> Tensor:
        """Pictures (k 3 h w) in [-1, 1] -> their codes (k e); codes themselves as they are."""
        return picture if picture.ndim == 2 else self.encoder(picture)

    def told(self, given: Given) -> Signals:
        """The tokens beside the text, where they are to be read there; and what the IdentityNet is told, where it works."""
        tokens = self._tokens(given)
        beside = (Tokens(keys_values=self.layers.read(tokens, given.weight_type)),) if given.beside else ()
        if given.key_points is None:
            return Signals(beside=beside)
        # Its layers read the tokens as they read words. Nothing goes beside the time: pooled, what is no words is so far
        # from any prompt that the copy has known that its blocks put out a thousand times as much.
        read = self.net.copy.encode_text(self._text(tokens)).tokens
        base = dataclasses.replace(given.base, vector=None)
        asked = dataclasses.replace(given, picture=given.key_points, text=None, base=base)
        return self.net.told(asked) + Signals(tokens=read, beside=beside)

    def _tokens(self, given: Given) -> Tensor:
        """(b l d), zeros where a reference is not told: then nothing is read, and the IdentityNet reads a null prompt."""
        count = len(given.kind)
        tokens = self.code_tokens(self.codes(given.picture.to(self.dtype)))
        if given.combine is not None:
            tokens = COMBINE[given.combine](tokens).expand(count, -1, -1)
        if given.null:
            return torch.zeros_like(tokens)
        return tokens if given.known is None else tokens * given.known.to(tokens.dtype)[:, None, None]

    def _text(self, tokens: Tensor) -> TextEmbeds:
        """The tokens in the place of a prompt's, which some networks read in one length alone."""
        embeds = self.as_text(tokens)
        missing = max(0, (self.base.text_length or 0) - embeds.shape[1])
        real = torch.ones(embeds.shape[:2], dtype=torch.bool, device=embeds.device)
        return TextEmbeds(embeds=F.pad(embeds, (0, 0, 0, missing)), mask=F.pad(real, (0, missing)))

    def at(self, x_t: Tensor, time: Tensor, told: Signals) -> Signals:
        if told.tokens is None:
            return Signals(beside=told.beside)
        found = self.net.at(x_t, time, dataclasses.replace(told, beside=()))
        return found + Signals(beside=told.beside)
