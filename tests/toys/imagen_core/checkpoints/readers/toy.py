"""What is the least that a reader is? Which files are its own, what they are, and what their weights are called."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from torch import nn

from ...unets import build_unet, unet_config_from_dict
from ..key_map import Entry, KeyMap, same_keys
from ..stage_spec import StageSpec
from ..stored import Stored
from ._base import Reader, Reading

PREFIX = "theirs."


class ToyReader(Reader):
    """Our toy network with a word before each key, its width told from its stem."""

    name: ClassVar[str] = "toy"
    title: ClassVar[str] = "a toy stage"

    def matches(self, stored: Stored) -> bool:
        return f"{PREFIX}stem.weight" in stored.shapes

    def read(self, stored: Stored) -> Reading:
        width = stored.shapes[f"{PREFIX}stem.weight"][0]
        config = unet_config_from_dict({"kind": "toy", "width": width, "text_embed_dim": 16})
        spec = StageSpec(stage="base64", unet_config=config, schedule_config={"name": "cosine"}, prediction_type="x_0")
        return Reading(spec=spec, build=partial(build_unet, config), key_map=_key_map)


def _key_map(network: nn.Module) -> KeyMap:
    return {
        key: Entry({PREFIX + theirs: shape for theirs, shape in entry.parts.items()})
        for key, entry in same_keys(network).items()
    }
