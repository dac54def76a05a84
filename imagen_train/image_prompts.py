"""How does a network learn to draw what a picture shows, and not the picture? From references that are other pictures.

Where pictures of named things are known, what the words leave out comes from the reference (see `companions`). Others are
their own references, mirrored and cut anew.

Shapes: b images, h w pixels, v what stands beside the time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imagen_core import AdapterSpec, Control, LoadedAdapter, Stage, TextEmbeds, resize
from imagen_core.adapters import Adapter, Given
from imagen_core.conditioning import Signals

from .classifier import shaken
from .companions import Case, Companions, rows_of
from .control_plans import ControlPlan
from .controls import SHOWN, ControlTask
from .following import palette_error
from .loop import Preview
from .options import TrainOptions
from .sheets import grid

DROPPED = 0.1  # of references: what the null branch reads (2308.06721, section 4.1.2 takes 0.05 twice)
SMALLEST = 0.6  # of a picture's sides, that is kept of it
MAPPED, TIMED = 0.5, 0.75  # of a batch: a reference is more than its embedding; something goes beside the time
TAUGHT = 0.1  # how much it counts that the caption would have put the same beside the time, until half of the run


def references_of(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture (b 3 h w) mirrored at random and cut to a part of it, so that its layout is not what is learned."""
    height, width = pictures.shape[-2:]
    found = []
    for picture, (flip, share, down, right) in zip(
        pictures, torch.rand(len(pictures), 4, generator=generator), strict=True
    ):
        kept = SMALLEST + (1.0 - SMALLEST) * float(share)
        rows, columns = max(1, round(kept * height)), max(1, round(kept * width))
        top, left = int(down * (height - rows + 1)), int(right * (width - columns + 1))
        cut = picture[None, :, top : top + rows, left : left + columns]
        found.append(resize(cut.flip(3) if flip < 0.5 else cut, (height, width)))
    return torch.cat(found)


class ImagePromptTask(ControlTask):
    """The loss of an image prompt: pictures under references and what words say besides."""

    def __init__(self, plan: ControlPlan, stage: Stage, options: TrainOptions):
        super().__init__(plan, stage, options)
        known = self.texts is not None and not stage.spec.enlarges
        self.companions = Companions.of(self.cache) if known else None
        self.cases: list[Case] = []  # of the batch
        self.known: dict[str, Tensor] = {}  # words that the encoder has read: there are a few thousand

    def _drawing(self, generator: torch.Generator) -> tuple[Tensor, TextEmbeds | None, Signals]:
        if self.companions is None:
            return super()._drawing(generator)
        self.cases = self.companions.drawn(self.batch_size, generator)
        self.indices = [case.picture for case in self.cases]
        text = self._padded(rows_of(self.cases, self.texts.encoder.embed_dim, self.texts.row, self._read))
        return self.cache.pictures(self.indices).to(self.device), text, self.stage.unet.encode_text(text)

    def _read(self, texts: list[str]) -> list[Tensor]:
        if missing := [text for text in texts if text not in self.known]:
            with torch.autocast(self.device.type, enabled=False):
                read = self.texts.encoder.encode(missing)
            rows = (row[mask].float().cpu() for row, mask in zip(read.embeds, read.mask, strict=True))
            self.known |= dict(zip(missing, rows, strict=True))
        return [self.known[text] for text in texts]

    def _padded(self, rows: list[Tensor]) -> TextEmbeds:
        embeds = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # b l d
        mask = torch.arange(embeds.shape[1]) < torch.tensor([len(row) for row in rows])[:, None]
        return TextEmbeds(embeds=embeds.to(self.device), mask=mask.to(self.device))

    def _given(self, x_0: Tensor, text: TextEmbeds | None, base: Signals, generator: torch.Generator) -> Given:
        picture, kind = self._references(x_0, generator), torch.zeros(len(x_0), device=x_0.device)
        return Given(picture=picture, kind=kind, text=text, base=base, counting=self._counting(x_0, generator))

    def _counting(self, x_0: Tensor, generator: torch.Generator) -> Tensor | None:
        """`Given.counting` of a batch, for a network that sees as a CLIP does."""
        if self.plan.clip is None:
            return None
        drawn = torch.rand(len(x_0), 2, generator=generator) < torch.tensor([MAPPED, TIMED])
        return drawn.to(x_0.device)

    def _references(self, x_0: Tensor, generator: torch.Generator) -> Tensor:
        """(b 3 h w); some of them nothing, where the null branch is to be learned: one that sees as a CLIP reads none."""
        if self.companions is None:
            references = references_of(x_0, generator)
        else:
            pictures = self.cache.pictures([case.reference for case in self.cases])
            references = shaken(pictures, generator, reach=2).to(x_0.device)
        if self.plan.clip is not None:
            return references
        dropped = (torch.rand(len(x_0), generator=generator) < DROPPED).to(x_0.device)
        return references.masked_fill(dropped[:, None, None, None], 0.0)

    def _besides(self, base: Signals, told: Signals, progress: float) -> Tensor | float:
        """Until half of the run: whether what goes beside the time is what the picture's caption would have put there."""
        if self.companions is None or base.vector is None or told.vector is None or progress >= 0.5:
            return 0.0
        with torch.no_grad():
            wanted = self.stage.unet.encode_text(self._padded([self.texts.row(i) for i in self.indices])).vector
        there = told.vector.abs().amax(1) > 0  # b: not of those where nothing goes there
        error = (base.vector + told.vector - wanted).float().square().mean(1) / wanted.float().var(0).mean()
        return TAUGHT * (1.0 - 2.0 * progress) * (error * there).mean()

    def preview(self, model: Adapter) -> Preview:
        """Rows: held-out references, and what is drawn of them: without words where these are known, else by captions."""
        pictures = self.shown.pictures(range(min(SHOWN, len(self.shown)))).to(self.device)
        loaded = LoadedAdapter(network=model, spec=AdapterSpec.of(model, self.stage))
        captions = self.shown.captions if self.companions is None else [""] * len(pictures)
        drawn = self.drawn(pictures, captions, [Control(adapter=loaded, picture=pictures)])
        figures = {"palette_error": palette_error(drawn, pictures.cpu()).mean().item()}
        return Preview(picture=grid(torch.cat([pictures.cpu(), drawn]), columns=len(pictures)), figures=figures)
