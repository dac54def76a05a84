"""How does a picture learn to be said in words? By what its scene is made of, each part as the text encoder says it.

Nothing is drawn while it learns, and no text is read: its phrases are, once. Beside it, it learns what a prompt says itself
and the picture need not say.

Shapes: b pictures, n phrases of a part, l tokens, d text width.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor
from torch.nn import functional as F

from imagen_core import Stage, load_clip
from imagen_core.adapters.picture_words import STATED, PictureWords
from imagen_core.image_embeds import noised
from imagen_core.text.t5 import T5TextEncoder

from .classifier import shaken
from .clip_pictures import COLOR, COUNT, FACTS, THING, Captioned
from .control_plans import ControlPlan
from .image_prompts import ImagePromptTask
from .options import TrainOptions
from .phrases import SAID, Phrase, phrases, told_things
from .stickers import backdrops
from .stickers.captions import COUNTS, STYLE_PHRASES, UNNAMED, write_caption
from .stickers.names import things
from .stickers.scene import Scene

MAPPED = 0.6  # of pictures, whose map is looked at; of the others the embedding alone
STRAY = 0.3  # noise on embeddings that are told alone, at most: a prior's are off as well
SMOOTHING = 0.05  # of what is right, shared by all phrases
TEXTS = 6000  # different prompts that tell what they state
UNTOLD = -100  # what cross entropy leaves out
NOTHING = 0.2  # of prompts: an empty one, or none at all
PLACES = {
    "number": COUNT,
    "color": COLOR,
    "thing": THING,
    "style": FACTS.index("style"),
    "backdrop": FACTS.index("backdrop"),
}


def learn_words(network: PictureWords, encoder: T5TextEncoder, read: Callable[[list[str]], list[Tensor]]) -> None:
    """Put every phrase's tokens into a network, each read where it stands in sentences."""
    length = lambda text: len(encoder.tokenizer.ids(text)) if text else 0
    (marked,) = read(["a fox"])
    first = len(marked) - 1 - length("a fox")  # of marks before the words: BERT has one, T5 none; both have one behind
    for part, told in phrases().items():
        rows = dict(zip(texts := [text for each in told for text in each.whole()], read(texts), strict=True))
        network.parts[part].knows([_mean_tokens(phrase, rows, length, first) for phrase in told])
    with torch.no_grad():
        for which, there, token in ((0, first, marked[0]), (1, 1, marked[-1])):
            network.marks[which], network.marked[which] = token * there, float(there)


def _mean_tokens(phrase: Phrase, rows: dict[str, Tensor], length: Callable[[str], int], first: int) -> Tensor:
    """(s d): a phrase's tokens, the mean of those in its sentences; of none, none."""
    found = [
        rows[whole][first + length(before) : first + length(to_its_end)]
        for whole, (before, to_its_end) in zip(phrase.whole(), phrase.sentences(), strict=True)
    ]
    return torch.stack(found).mean(0) if phrase.text else found[0][:0]


def stating(rng: Random) -> tuple[str, tuple[bool, ...]]:
    """A prompt that names nothing, and which of STATED it says."""
    style, backdrop = (rng.random() < share for share in (0.6, 0.6))
    count = rng.choice((1, 1, *COUNTS))
    number = rng.random() < 0.8 or not (style or backdrop)
    subject = (rng.choice(UNNAMED) if count == 1 else f"{rng.choice(COUNTS[count])} of them") if number else ""
    kinds = [phrase for phrase in STYLE_PHRASES[rng.choice(list(STYLE_PHRASES))] if "{bare}" not in phrase]
    text = subject
    if style:
        text = rng.choice(kinds).format(subject) if number else rng.choice(list(SAID.values())).lstrip(" ,")
    if backdrop:
        name = rng.choice(backdrops.NAMES)
        plain = (f"on a {name} background", f"on {name}", f", {name} background")
        text = f"{text} {rng.choice(backdrops.SCENE_PHRASES.get(name, plain)).lstrip(' ,')}".lstrip()
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
        self.clip = load_clip(plan.clip, towers=("vision",)).to(self.device)  # whose embeddings are told alone
        known = Captioned.of(self.cache)
        self.rows = torch.arange(len(known.scenes))[known.facts[:, FACTS.index("thing_2")] < 0]  # of one kind of thing
        self.facts = _facts(known.facts)
        self.prompts = self._prompts(known.scenes)

    def _prompts(self, scenes: list[Scene]) -> list[tuple[str, tuple[bool, ...]]]:
        rng = Random("prompts")
        named = [self._naming(scene, rng) for scene in rng.sample(scenes, min(TEXTS // 3, len(scenes)))]
        return named + [stating(rng) for _ in range(TEXTS - TEXTS // 3)]

    def _naming(self, scene: Scene, rng: Random) -> tuple[str, tuple[bool, ...]]:
        caption = write_caption(scene, things(), rng)
        return caption.text, (True, "style" in caption.stated, "backdrop" in caption.stated)

    def begun(self, network: PictureWords) -> PictureWords:
        with torch.autocast(self.device.type, enabled=False):
            learn_words(network, self.texts.encoder, self._read)
        return network

    def loss(self, model: PictureWords, generator: torch.Generator, progress: float) -> Tensor:
        rows = self.rows[torch.randint(len(self.rows), (self.batch_size,), generator=generator)]
        pictures = shaken(self.cache.pictures(rows.tolist()), generator, reach=2).to(self.device)
        mapped = (torch.rand(len(rows), generator=generator) < MAPPED).to(self.device)
        embeds, seen = model.seen(pictures)
        with torch.no_grad():
            level = STRAY * float(torch.rand((), generator=generator))
            known = self.clip.project_pixels(pictures).float()
            astray = noised(known, level, int(torch.randint(2**31, (), generator=generator))).to(embeds)
        embeds = torch.where(mapped[:, None], embeds, astray)
        logits, loss = model.logits(embeds, seen, mapped=mapped), self._hearing(model, generator)
        with torch.autocast(self.device.type, enabled=False):
            for name, facts in self.facts.items():
                wanted = facts[rows].to(self.device)
                loss = loss + F.cross_entropy(logits[name].float(), wanted, label_smoothing=SMOOTHING)
        return loss

    def _hearing(self, model: PictureWords, generator: torch.Generator) -> Tensor:
        """Whether prompts say how many, in which style, before what. An empty one, and none at all, say nothing."""
        rng = Random(int(torch.randint(2**62, (), generator=generator)))
        prompts = rng.sample(self.prompts, min(64, len(self.prompts)))
        empty = [("", (False,) * len(STATED))] * round(len(prompts) * NOTHING / 2)
        prompts = prompts[len(empty) * 2 :] + empty
        rows = self._read([text for text, _ in prompts])
        nothing = torch.zeros(1, rows[0].shape[1])
        text = self._padded(rows + [nothing] * len(empty))
        stated = torch.tensor([said for _, said in prompts + empty]).float()
        return F.binary_cross_entropy_with_logits(model.states(text).float(), stated.to(self.device))


def _facts(facts: Tensor) -> dict[str, Tensor]:
    """Which phrase is right, part by part, (n,): numbers count from one, a thing's own colour is the first. -100: none."""
    columns = {name: facts[:, place] for name, place in PLACES.items()}
    rows = torch.full((len(things()),), UNTOLD)
    rows[told_things()] = torch.arange(len(told_things()))
    shifted = {"number": (columns["number"] - 1).clamp(min=0), "color": columns["color"] + 1}
    return columns | shifted | {"thing": rows[columns["thing"]]}
