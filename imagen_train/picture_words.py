"""How does a picture learn to be said in words? By the sentence that its scene would be told in, as text encoders read it.

Nothing is drawn while it learns: both sides are known (Pic2Word, arXiv 2302.03084, learns its pseudo word from pictures
alone; scenes tell the sentence here). Beside it, it learns what a prompt says itself and the picture need not say.

Shapes: b pictures, s slots of the sentence, l tokens, d text width.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core import Stage, TextEmbeds
from imagen_core.adapters.picture_words import SLOTS, STATED, PictureWords, slots_of
from imagen_core.image_embeds import noised
from imagen_core.text.t5 import T5TextEncoder

from .classifier import shaken
from .clip_pictures import Captioned
from .control_plans import ControlPlan
from .image_prompts import ImagePromptTask
from .options import TrainOptions
from .stickers import backdrops
from .stickers.captions import COUNTS, STYLE_PHRASES, UNNAMED, write_caption
from .stickers.names import Thing, things, with_article
from .stickers.scene import Placed, Scene

STYLES = {"3d": ", 3D render", "flat": ", flat design", "cartoon": ", cartoon"}  # as captions say them behind the thing
RELATIONS = {"left": "{} to the left of {}", "above": "{} above {}"}
MAPPED = 0.6  # of pictures, whose map is read; of the others the embedding alone
STRAY = 0.3  # noise on embeddings that are read alone, at most: a prior's are off as well
MOST = 32_768  # pictures that are learned from: their sentences are kept in memory
TEXTS = 6000  # different prompts that tell what they state
NOTHING = 0.2  # of prompts: an empty one, or none at all


@dataclass(frozen=True)
class Told:
    """A scene in words, part by part."""

    all: str  # everything that is to be seen
    one: str  # one of it, where there are several; of two things the first
    style: str
    backdrop: str

    @staticmethod
    def of(scene: Scene, vocabulary: tuple[Thing, ...]) -> Told:
        first = _named(scene.placed[0], vocabulary)
        everything = first
        if scene.layout == "several":
            count, color = COUNTS[len(scene.placed)][0], scene.placed[0].color
            everything = " ".join(filter(None, (count, color, vocabulary[scene.placed[0].thing].plural)))
        elif scene.layout == "pair":
            everything = RELATIONS[scene.relation].format(first, _named(scene.placed[1], vocabulary))
        behind = backdrops.SCENE_PHRASES.get(scene.backdrop, (f"on a {scene.backdrop} background",))[0]
        return Told(everything, first, STYLES[scene.style], f" {behind}")

    @property
    def sentence(self) -> str:
        return f"{self.all}{self.style}{self.backdrop}"


def _named(placed: Placed, vocabulary: tuple[Thing, ...]) -> str:
    thing = vocabulary[placed.thing]
    if placed.color is None:
        return thing.head
    return with_article(f"{placed.color} {thing.noun}", thing.noun == thing.plural and thing.noun.endswith("s"))


def slotted(told: Told, rows: dict[str, Tensor], encoder: T5TextEncoder) -> tuple[Tensor, Tensor]:
    """The sentence's tokens (s d) in their slots, and which are there (s,). rows: texts as the encoder reads them (l d).

    A part longer than its slots loses its end.
    """
    sentence, alone = rows[told.sentence], rows[told.one]
    tokens, there = sentence.new_zeros(sum(SLOTS.values()), sentence.shape[1]), torch.zeros(sum(SLOTS.values())).bool()
    ends = [len(encoder.tokenizer.ids(text)) for text in (told.all, f"{told.all}{told.style}", told.sentence)]
    start = len(sentence) - 1 - ends[-1]  # of marks before the words: BERT has one, T5 none
    if start not in (0, 1):
        raise ValueError(
            f"{told.sentence!r} is {ends[-1]} tokens and is read as {len(sentence)}: use BERT's or T5's marks"
        )
    parts = {"first": sentence[:start], "last": sentence[-1:], "one": alone[start:-1]}
    for name, begin, end in zip(("all", "style", "backdrop"), (0, *ends), ends, strict=False):
        parts[name] = sentence[start + begin : start + end]
    for name, part in parts.items():
        where = slots_of(name)
        count = min(len(part), SLOTS[name])
        tokens[where.start : where.start + count] = part[:count]
        there[where.start : where.start + count] = True
    return tokens, there


def stating(rng: Random) -> tuple[str, tuple[bool, ...]]:
    """A prompt that names nothing, and which of STATED it says."""
    style, backdrop = (rng.random() < share for share in (0.6, 0.6))
    count = rng.choice((1, 1, *COUNTS))
    number = rng.random() < 0.8 or not (style or backdrop)
    subject = (rng.choice(UNNAMED) if count == 1 else f"{rng.choice(COUNTS[count])} of them") if number else ""
    phrases = [phrase for phrase in STYLE_PHRASES[rng.choice(list(STYLE_PHRASES))] if "{bare}" not in phrase]
    text = subject
    if style:
        text = rng.choice(phrases).format(subject) if number else rng.choice(list(STYLES.values())).lstrip(" ,")
    if backdrop:
        name = rng.choice(backdrops.NAMES)
        behind = backdrops.SCENE_PHRASES.get(name, (f"on a {name} background", f"on {name}", f", {name} background"))
        text = f"{text} {rng.choice(behind).lstrip(' ,')}".lstrip()
    return text, (number, style, backdrop)


class PictureWordsTask(ImagePromptTask):
    """The loss of `PictureWords`: what it says of pictures whose scenes are known, and hears of prompts."""

    def __init__(self, plan: ControlPlan, stage: Stage, options: TrainOptions) -> None:
        super().__init__(plan, stage, options)
        if self.companions is None or self.texts is None:
            raise ValueError(
                "words are learned from pictures of known things, for a base that reads text: name things64_wide with "
                "--pictures, or leave --words away"
            )
        self.scenes, self.vocabulary = Captioned.of(self.cache).scenes[:MOST], things()
        self.prompts = self._prompts()

    def _prompts(self) -> list[tuple[str, tuple[bool, ...]]]:
        rng = Random("prompts")
        named = [self._naming(scene, rng) for scene in rng.sample(self.scenes, min(TEXTS // 3, len(self.scenes)))]
        return named + [stating(rng) for _ in range(TEXTS - TEXTS // 3)]

    def _naming(self, scene: Scene, rng: Random) -> tuple[str, tuple[bool, ...]]:
        caption = write_caption(scene, self.vocabulary, rng)
        return caption.text, (True, "style" in caption.stated, "backdrop" in caption.stated)

    def loss(self, model: PictureWords, generator: torch.Generator, progress: float) -> Tensor:
        rows = torch.randint(len(self.scenes), (self.batch_size,), generator=generator).tolist()
        pictures = shaken(self.cache.pictures(rows), generator, reach=2).to(self.device)
        mapped = (torch.rand(len(rows), generator=generator) < MAPPED).to(self.device)
        with torch.no_grad():
            embeds, seen = model.seen(pictures)
            level = STRAY * float(torch.rand((), generator=generator))
            astray = noised(embeds.float(), level, int(torch.randint(2**31, (), generator=generator))).to(embeds)
            embeds = torch.where(mapped[:, None], embeds, astray)
        said = model.sentence(embeds, seen, mapped=mapped)
        wanted, there = self._wanted(rows)
        with torch.autocast(self.device.type, enabled=False):
            width = wanted.shape[-1:]
            error = (F.layer_norm(said.tokens.float(), width) - F.layer_norm(wanted, width)).square().mean(2)
            missed = F.binary_cross_entropy_with_logits(said.there.float(), there.float())
            return error[there].mean() + missed + self._hearing(model, generator)

    def _wanted(self, rows: list[int]) -> tuple[Tensor, Tensor]:
        told = [Told.of(self.scenes[row], self.vocabulary) for row in rows]
        texts = list(dict.fromkeys(text for each in told for text in (each.sentence, each.one)))
        read = dict(zip(texts, self._read(texts), strict=True))
        each = [slotted(one, read, self.texts.encoder) for one in told]
        tokens, there = (torch.stack(part).to(self.device) for part in zip(*each, strict=True))
        return tokens, there

    def _hearing(self, model: PictureWords, generator: torch.Generator) -> Tensor:
        """Whether prompts say how many, in which style, before what. An empty one, and none at all, say nothing."""
        rng = Random(int(torch.randint(2**62, (), generator=generator)))
        prompts = rng.sample(self.prompts, min(64, len(self.prompts)))
        empty = [("", (False,) * len(STATED))] * round(len(prompts) * NOTHING / 2)
        prompts = prompts[len(empty) * 2 :] + empty
        rows = self._read([text for text, _ in prompts])
        nothing = torch.zeros(1, rows[0].shape[1])
        text: TextEmbeds = self._padded(rows + [nothing] * len(empty))
        stated = torch.tensor([said for _, said in prompts + empty]).float()
        return F.binary_cross_entropy_with_logits(model.states(text).float(), stated.to(self.device))
