"""Which word stands on a sign? A small CNN that reads columns of a 64 x 64 picture, letter by letter.

It judges whether drawn signs are spelled right, beside the classifier, which sees that there is a sign and no letters.
Trained with connectionist temporal classification (Graves et al. 2006): only the word is told, not where its letters stand.

Shapes: b pictures, t columns from left to right, c channels, h w pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, Dataset

from .classifier import PAIR_PICTURES, ChannelNorm, ConvBlock, shaken
from .data import KINDS, PictureCache, render_pictures
from .judge_files import load_judge, save_judge
from .loop import LoopConfig, Preview, train
from .options import TrainOptions
from .scenes import sample_scenes

FILE = "reader.safetensors"
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BLANK = 0  # between letters; letter i of LETTERS is class i + 1
COLUMNS = 32


class Reader(nn.Module):
    """(b 3 64 64) in [-1, 1] -> logits (b t 27): the blank and the letters, column by column."""

    def __init__(self, channels: tuple[int, int, int] = (48, 96, 128)):
        super().__init__()
        fine, middle, coarse = channels
        self.maps = nn.Sequential(
            nn.PixelUnshuffle(2),  # b 12 32 32
            nn.Conv2d(12, fine, 3, padding=1),
            ConvBlock(fine),
            ChannelNorm(fine),
            nn.SiLU(),
            nn.Conv2d(fine, middle, 3, stride=(2, 1), padding=1),  # b middle 16 32
            ConvBlock(middle),
            ChannelNorm(middle),
            nn.SiLU(),
            nn.Conv2d(middle, coarse, 3, stride=(2, 1), padding=1),  # b coarse 8 32
            ConvBlock(coarse),
            ChannelNorm(coarse),
            nn.SiLU(),
        )
        self.squeeze = nn.Conv2d(coarse, 32, 1)
        self.letters = nn.Linear(32 * 8, len(LETTERS) + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.letters(self.squeeze(self.maps(x)).permute(0, 3, 1, 2).flatten(2))


@torch.inference_mode()
def read_words(model: Reader, pictures: Tensor, *, batch_size: int = 128) -> list[str]:
    """The likeliest word on each picture (b 3 64 64): best class a column, repeats and blanks left out."""
    words = []
    for batch in pictures.split(batch_size):
        for columns in model(batch).argmax(2).tolist():
            kept = [c for c, before in zip(columns, [BLANK, *columns], strict=False) if c not in (BLANK, before)]
            words.append("".join(LETTERS[c - 1] for c in kept))
    return words


def spelled(words: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Classes of all letters one after the other, and the words' lengths (b,), as CTC takes them."""
    classes = [LETTERS.index(letter) + 1 for word in words for letter in word]
    return torch.tensor(classes), torch.tensor([len(word) for word in words])


@dataclass(frozen=True, kw_only=True)
class Signs(Dataset):
    """The cached pictures of one kind that show a sign: which they are, and what they say."""

    cache: PictureCache
    rows: tuple[int, ...]
    words: tuple[str, ...]

    @staticmethod
    def of(cache_dir: Path, name: str, *, limit: int | None = None) -> Signs:
        cache, kind = PictureCache(cache_dir, name, limit=limit), KINDS[name]
        said: list[str | None] = []
        for index in range(len(cache) // kind.chunk):
            said += sample_scenes(kind.chunk, seed=kind.first_seed + index, held_out=kind.held_out).words
        rows = [i for i, word in enumerate(said) if word]
        return Signs(cache=cache, rows=tuple(rows), words=tuple(said[i] for i in rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, str]:
        """A picture (1 3 64 64) and its word."""
        return self.cache.pictures([self.rows[index]]), self.words[index]


@dataclass(frozen=True, kw_only=True)
class ReaderTask:
    """Read the word of every sign, from pictures shifted a little and made a little noisy."""

    signs: tuple[Signs, ...]  # none of them empty
    held_out: Signs
    batch_size: int
    helper: None = None

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        pool = ConcatDataset(self.signs)
        chosen = [pool[i] for i in torch.randint(len(pool), (self.batch_size,), generator=generator).tolist()]
        pictures, words = zip(*chosen, strict=True)
        device = next(model.parameters()).device
        logits = model(shaken(torch.cat(pictures).to(device), generator).contiguous(memory_format=torch.channels_last))
        steps = logits.float().log_softmax(2).transpose(0, 1)  # t b 27
        targets, lengths = spelled(words)
        return F.ctc_loss(steps, targets, torch.full((len(words),), logits.shape[1]), lengths, blank=BLANK)

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures=reading_accuracy(model, self.held_out))


def reading_accuracy(model: Reader, signs: Signs) -> dict[str, float]:
    """Share of whole words, and of words of up to five letters, read right."""
    device = next(model.parameters()).device
    read = read_words(model, signs.cache.pictures(signs.rows).to(device))
    right = [a == b for a, b in zip(read, signs.words, strict=True)]
    short = [ok for ok, word in zip(right, signs.words, strict=True) if len(word) <= 5]
    return {"words": sum(right) / max(1, len(right)), "words_up_to_5": sum(short) / max(1, len(short))}


def train_reader(options: TrainOptions) -> dict[str, object]:
    """Train on the cached base64 pictures' and pairs' signs, test on held-out ones, write models_dir/reader.safetensors.

    Nothing is written when options.export is False or a signal stopped it ("interrupted" in the figures).
    """
    torch.manual_seed(options.seed)
    render_pictures(KINDS["base64_pairs"], PAIR_PICTURES, options.cache_dir)
    task = ReaderTask(
        signs=(Signs.of(options.cache_dir, "base64"), Signs.of(options.cache_dir, "base64_pairs")),
        held_out=Signs.of(options.cache_dir, "base64_held_out", limit=4096),
        batch_size=options.batch_size or 64,
    )
    result = train(Reader(), task, options, config=LoopConfig(decay_start=0.4, ema_half_life=100.0))
    figures: dict[str, object] = {
        "steps": result.state.step,
        "images": result.state.images,
        "minutes": result.state.seconds / 60,
        "interrupted": result.interrupted,
        "signs": sum(map(len, task.signs)),
        "held_out_signs": len(task.held_out),
        "accuracy": reading_accuracy(result.model, task.held_out),
    }
    if options.export and not result.interrupted:
        figures["file"] = str(save_reader(result.model, options.models_dir / FILE, figures))
    return figures


def save_reader(model: Reader, path: Path, figures: dict[str, object]) -> Path:
    """Write the weights with their figures, atomically."""
    return save_judge(model, path, figures, kind="reader", heads=LETTERS)


def load_reader(path: Path) -> Reader:
    """The reader in float32, eval mode, frozen. ValueError: another kind of file."""
    return load_judge(Reader(), path, kind="reader", heads=LETTERS)
