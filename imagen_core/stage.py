"""What is one stage of the cascade: a network, its noise schedule and what its checkpoint says of itself."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .activation_memory import activation_bytes
from .batching import InParts
from .checkpoints.formats import load_checkpoint
from .checkpoints.stage_spec import StageSpec
from .classes import Classes
from .conditioning import Signals, TextEmbeds, repeated
from .predictor import Predictor
from .prompts import Asked, Prompt
from .schedules import Schedule, schedule_from_config
from .steering import Steered

IDS = "glide/text_encoder for GLIDE"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A loaded stage: `unet` (see unets/), `schedule` (see schedules/) and `spec`, the checkpoint's own description.

    max_rows: how many pictures memory has room for at once, guidance counting each twice; None for any number.
    """

    unet: nn.Module
    schedule: Schedule
    spec: StageSpec
    max_rows: int | None = None

    @property
    def device(self) -> torch.device:
        return next(self.unet.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.unet.parameters()).dtype

    @property
    def text_dtype(self) -> torch.dtype | None:
        """What an encoded prompt's numbers become on their way into the network; None: they are token ids, and stay."""
        return None if self.spec.unet_config.reads_ids else self.dtype

    @property
    def predictor(self) -> Predictor:
        """The U-Net as a denoiser calls it: a batch that memory is short for goes through in parts."""
        return Predictor(
            network=InParts(Steered(self.unet), self.max_rows),
            schedule=self.schedule,
            prediction_type=self.spec.prediction_type,
            learned_variance=self.spec.learned_variance,
            self_conditioned="estimate" in self.spec.inputs,
        )

    def activation_bytes(self, height: int, width: int) -> int:
        """What one picture of this size takes while the U-Net runs, in bytes, besides the weights."""
        config = self.spec.unet_config
        _, *sides = self.spec.space.shape(config.in_channels, height, width)
        return activation_bytes(config, *sides, dtype=self.dtype)

    @property
    def reads_text(self) -> bool:
        """Whether the network was built to read a prompt at all."""
        return "text" in self.spec.inputs

    def read(self, prompt: Asked | None) -> Prompt:
        """A prompt as this stage reads it. Raises ValueError where there is none."""
        if prompt is None:
            raise ValueError(
                f"the {self.spec.stage} stage reads text, and got no prompt: connect an Imagen Text Encode node"
            )
        return prompt.as_read(self.spec.text)

    def encode_prompt(self, prompt: Asked | Classes | None, batch: int) -> dict[str, Signals]:
        """What `batch` images are told of the prompt, as "cond", and as "null" of what guidance steers away from.

        For a stage without text there is only "cond", and nothing in it; one that draws classes is told those.

        Raises ValueError when the stage needs a prompt and has none, when the prompt comes from a text encoder of
        another width, or when it holds neither one prompt nor `batch` of them.
        """
        if self.spec.unet_config.draws_classes:
            return self._told_classes(prompt, batch)
        if isinstance(prompt, Classes) and self.reads_text:
            raise ValueError(f"the {self.spec.stage} stage draws no classes: connect an Imagen Text Encode node")
        if not self.reads_text:
            return {"cond": Signals()}
        told = {branch: self._told(text, batch) for branch, text in self.texts(prompt).items()}
        if not self.reads_images:
            return told
        embeds = self.image_embed(prompt)
        if len(embeds) not in (1, batch):
            raise ValueError(f"{len(embeds)} image embeddings for {batch} images: give one, or one an image")
        images = {"cond": embeds.to(self.device, self.dtype).expand(batch, -1), "null": None}
        return {branch: self.unet.encode_image(images[branch], batch) + text for branch, text in told.items()}

    @property
    def reads_images(self) -> bool:
        """Whether the network draws what CLIP's embedding of a picture says."""
        return "image_embed" in self.spec.inputs

    def image_embed(self, prompt: Asked) -> Tensor:
        """What is to be seen, as CLIP's embeddings (b e), beside a prompt. Raises ValueError where there are none."""
        embeds = self.read(prompt).image_embed
        if embeds is None:
            raise ValueError(
                f"this {self.spec.stage} stage draws what an image embedding says, and got none: put Imagen unCLIP "
                "Conditioning between the prompt and the sampler"
            )
        return embeds

    def texts(self, prompt: Asked | None) -> dict[str, TextEmbeds]:
        """The prompt by branch, encoded but not yet read by the network; nothing for a stage without text."""
        if not self.reads_text:
            return {}
        prompt = self.read(prompt)
        negative = prompt.negative or TextEmbeds.null(1, self.spec.unet_config.text_embed_dim)
        return {"cond": prompt.text, "null": negative}

    def _told_classes(self, asked: Prompt | Classes | None, batch: int) -> dict[str, Signals]:
        config = self.spec.unet_config
        none = {"null": repeated(self.unet.encode_class(), batch)} if config.null_class else {}
        if config.num_classes == 0:
            return {"cond": none["null"]}
        if not isinstance(asked, Classes):
            raise ValueError(
                f"the {self.spec.stage} stage draws one of {config.num_classes} classes, and was asked for none: connect an "
                "Imagen Class Label node to text"
            )
        return {"cond": self.unet.encode_class(asked.of_each(batch)), **none}

    def _told(self, embeds: TextEmbeds, batch: int) -> Signals:
        expected = self.spec.unet_config.text_embed_dim
        if embeds.embeds.shape[-1] != expected and self.spec.unet_config.reads_ids:
            raise ValueError(
                f"the {self.spec.stage} stage reads a prompt's token ids itself, and got what a text encoder made of it: "
                f"in Imagen Load Text Encoder choose the vocabulary that belongs to it ({IDS})"
            )
        if embeds.embeds.shape[-1] != expected:
            raise ValueError(
                f"the prompt was encoded {embeds.embeds.shape[-1]} wide, and the {self.spec.stage} stage was trained on"
                f" text {expected} wide: load the text encoder that belongs to this checkpoint"
            )
        prompts = embeds.embeds.shape[0]
        if prompts not in (1, batch):
            raise ValueError(f"{prompts} prompts for {batch} images: give one prompt, or one an image")
        encoded = self.unet.encode_text(embeds.to(self.device, self.text_dtype))
        return encoded if prompts == batch else repeated(encoded, batch)


def load_stage(
    path: str | os.PathLike[str],
    *,
    expected_stage: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    eight_bits: bool = False,
) -> Stage:
    """Load one stage, ready to sample: a `.safetensors` of this pack, or DeepFloyd IF's as a file or model folder.

    expected_stage: such as "base64" or "sr256"; another stage's file is refused. eight_bits: memory holds what is large as
    int8, half of what float16 takes, and it is computed in `dtype` all the same. Raises FileNotFoundError, and
    ValueError for a pickle, a truncated file, a missing shard, or what is no stage, each saying what to do.
    """
    unet, spec = load_checkpoint(path, expected_stage=expected_stage, dtype=dtype, eight_bits=eight_bits)
    unet = unet.to(device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    return Stage(unet=unet, schedule=schedule_from_config(spec.schedule_config), spec=spec)


def to_device(tensor: Tensor, stage: Stage) -> Tensor:
    """A picture, on the stage's device, in the float32 that samplers work in."""
    return tensor.to(device=stage.device, dtype=torch.float32)
