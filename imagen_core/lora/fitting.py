"""How is a LoRA learned from a few pictures? The network stays frozen, and the change beside each layer learns.

Works inside the inference mode that hosts run nodes in. Shapes: n pictures, b of a batch, c h w a picture, l text tokens,
d text width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conditioning import TextEmbeds
from ..guidance._gradient import thawed
from ..losses import diffusion_loss, draw_times
from ..sidecars import fingerprint
from ..stage import Prompt, Stage
from .low_rank import Lora, LowRank
from .prior import ClassPictures

TARGETS = ("linear", "all")
Report = Callable[[int, int, float], None]  # (steps done, of how many, loss)


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """How it is learned."""

    rank: int = 8  # numbers a layer's change may have in each direction; more learns more, and by heart sooner
    steps: int = 300
    learning_rate: float = 1e-3
    batch_size: int = 4
    targets: str = "all"  # "linear": attention and its like; "all": convolutions too
    drop_captions: float = 0.1  # share that is left out, so that guidance still has a null prompt to steer from
    flip: bool = False  # mirror half of the pictures
    seed: int = 0
    prior_loss_weight: float = 1.0  # of the class pictures' loss beside the pictures' own: DreamBooth's lambda

    def __post_init__(self) -> None:
        if self.targets not in TARGETS:
            raise ValueError(f"targets is {self.targets!r}: expected one of {', '.join(TARGETS)}")
        for name in ("rank", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: expected 1 or more")
        if not 0 < self.learning_rate < 1:
            raise ValueError(f"learning_rate is {self.learning_rate}: expected a number between 0 and 1, usually 0.001")
        if not 0 <= self.prior_loss_weight < float("inf"):
            raise ValueError(f"prior_loss_weight is {self.prior_loss_weight}: expected 0 or more, usually 1")


class LowRankLayer(nn.Module):
    """What is added to one layer's output; zero at first."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.convolution = (layer.stride, layer.padding, layer.dilation) if isinstance(layer, nn.Conv2d) else None
        outputs, *inputs = layer.weight.shape
        numbers = torch.randn(rank, *inputs, generator=generator)
        self.down = nn.Parameter(numbers / numbers[0].numel() ** 0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank, *[1] * (len(inputs) - 1)))

    def forward(self, x: Tensor) -> Tensor:
        if self.convolution is None:
            return F.linear(F.linear(x.float(), self.down), self.up)
        return F.conv2d(F.conv2d(x.float(), self.down, None, *self.convolution), self.up)


def layers_to_change(network: nn.Module, settings: LoraSettings) -> dict[str, nn.Linear | nn.Conv2d]:
    """The layers by their names: those wide enough for the rank to be a saving."""
    kinds = nn.Linear if settings.targets == "linear" else (nn.Linear, nn.Conv2d)
    return {
        name: layer
        for name, layer in network.named_modules()
        if isinstance(layer, kinds) and getattr(layer, "groups", 1) == 1 and min(layer.weight.shape[:2]) > settings.rank
    }


@contextmanager
def beside(layers: dict[str, nn.Module], changes: nn.ModuleDict) -> Iterator[None]:
    """While it lasts, each layer's output is its own and its change's."""

    def hook(change: LowRankLayer):
        return lambda layer, args, output: output + change(args[0]).to(output.dtype)

    handles = [layer.register_forward_hook(hook(changes[key_of(name)])) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def key_of(name: str) -> str:
    """A layer's name as a ModuleDict takes it."""
    return name.replace(".", "/")


def fit_lora(
    stage: Stage,
    pictures: Tensor,
    prompts: Sequence[Prompt],
    settings: LoraSettings | None = None,
    report: Report | None = None,
    prior: ClassPictures | None = None,
) -> Lora:
    """Learn a LoRA for `stage` from pictures (n c h w) in [-1, 1] and a prompt for each.

    A prompt's `negative` is what takes its place where it is dropped. prior: pictures that the stage drew before, see
    `draw_class`; as many of them are seen a step, and their loss is added, `prior_loss_weight` times (DreamBooth, Eq. 2).
    `report` is called after each step; what it raises stops the run. Raises ValueError for a stage that does not draw
    from text, a wrong count, or a loss that is not finite.
    """
    settings = settings or LoraSettings()
    if stage.spec.enlarges or not stage.reads_text:
        raise ValueError(f"a LoRA is learned for stages that draw from text, and {stage.spec.stage} does not")
    if "known" in stage.spec.inputs:
        raise ValueError("a stage that repaints learns no LoRA, but takes those of its base: choose that one here")
    if len(prompts) != len(pictures) or not len(pictures):
        raise ValueError(f"{len(prompts)} captions for {len(pictures)} pictures: give one each")
    # Hosts run nodes in inference mode, whose tensors autograd refuses; copies made outside of it are plain ones.
    with torch.inference_mode(False), torch.enable_grad():
        network = thawed(stage.unet)
        generator = torch.Generator().manual_seed(settings.seed)
        layers = layers_to_change(network, settings)
        changes = nn.ModuleDict(
            {key_of(name): LowRankLayer(layer, settings.rank, generator) for name, layer in layers.items()}
        ).to(stage.device)
        examples = [_Examples(stage, pictures.clone(), prompts, settings)]
        if prior is not None:
            examples.append(_Examples(stage, prior.pictures.clone(), prior.prompts, settings))
        with beside(layers, changes):
            _learn(stage, network, changes, examples, generator, report)
    found = {name: changes[key_of(name)] for name in layers}
    return Lora(
        changes={
            name: LowRank(up=change.up.detach(), down=change.down.detach(), alpha=float(settings.rank))
            for name, change in found.items()
        },
        base=fingerprint(stage),
        training={**asdict(settings), "pictures": len(pictures), "class_pictures": len(prior.prompts) if prior else 0},
    )


class _Examples:
    """Pictures and prompts, a batch at a time."""

    def __init__(self, stage: Stage, pictures: Tensor, prompts: Sequence[Prompt], settings: LoraSettings) -> None:
        self.pictures, self.settings = pictures, settings
        null = TextEmbeds.null(1, stage.spec.unet_config.text_embed_dim)
        self.told = [_plain(prompt.text) for prompt in prompts]
        self.dropped = [_plain(prompt.negative or null) for prompt in prompts]

    def draw(self, generator: torch.Generator) -> tuple[Tensor, TextEmbeds, list[int]]:
        """Pictures (b c h w), what they are told, and which they are."""
        count = self.settings.batch_size
        rows = torch.randint(len(self.pictures), (count,), generator=generator).tolist()
        left_out = (torch.rand(count, generator=generator) < self.settings.drop_captions).tolist()
        pictures = self.pictures[rows]
        if self.settings.flip:
            mirrored = torch.rand(count, 1, 1, 1, generator=generator) < 0.5
            pictures = pictures.flip(3).where(mirrored.to(pictures.device), pictures)
        texts = [(self.dropped if gone else self.told)[i] for i, gone in zip(rows, left_out, strict=True)]
        return pictures, _one_batch(texts), rows


def _plain(text: TextEmbeds) -> TextEmbeds:
    return TextEmbeds(embeds=text.embeds.clone(), mask=text.mask.clone())


def _one_batch(texts: Sequence[TextEmbeds]) -> TextEmbeds:
    """Prompts of one each, padded to the longest: (b l d)."""
    longest = max(text.mask.shape[1] for text in texts)
    rows = [
        (F.pad(t.embeds, (0, 0, 0, longest - t.mask.shape[1])), F.pad(t.mask, (0, longest - t.mask.shape[1])))
        for t in texts
    ]
    embeds, masks = zip(*rows, strict=True)
    return TextEmbeds(embeds=torch.cat(embeds), mask=torch.cat(masks))


def _learn(
    stage: Stage,
    network: nn.Module,
    changes: nn.ModuleDict,
    examples: Sequence[_Examples],
    generator: torch.Generator,
    report: Report | None,
) -> None:
    settings, weights = examples[0].settings, (1.0, examples[0].settings.prior_loss_weight)
    optimizer = torch.optim.AdamW(changes.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    for step in range(settings.steps):
        drawn = [each.draw(generator) for each in examples]
        losses = [_loss(stage, network, x_0, text, generator) for x_0, text, _ in drawn]
        loss = sum(weight * each for weight, each in zip(weights, losses, strict=False))
        if not bool(loss.isfinite()):
            raise ValueError(
                f"step {step}: the loss is {loss.item()}, from pictures {drawn[0][2]}: lower learning_rate"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(changes.parameters(), 1.0)
        for group in optimizer.param_groups:  # warm up for a tenth, then fall to zero
            group["lr"] = settings.learning_rate * min(
                1.0, 10 * (step + 1) / settings.steps, 1.25 * (1 - step / settings.steps)
            )
        optimizer.step()
        if report is not None:
            report(step + 1, settings.steps, loss.item())


def _loss(stage: Stage, network: nn.Module, x_0: Tensor, text: TextEmbeds, generator: torch.Generator) -> Tensor:
    x_0, told = x_0.to(stage.device, torch.float32), network.encode_text(text.to(stage.device, stage.text_dtype))
    times = stage.schedule.trained(draw_times(x_0.shape[0], generator, power=1.0))
    return diffusion_loss(
        lambda x_t, time: network(x_t.to(stage.dtype), time, told),
        x_0,
        schedule=stage.schedule,
        prediction_type=stage.spec.prediction_type,
        times=times.to(x_0.device),
        noise=torch.randn(x_0.shape, generator=generator).to(x_0.device),
    )
