"""How is imagen-mini's text encoder made? A tiny T5 learns from text alone, then only its encoder ships, frozen.

Two tasks: span corruption (T5, arXiv 1910.10683) and translating a caption into its canonical parse. The decoder is one
layer, thrown away after training: so weak that which color belongs to which thing has to be worked out by the encoder.

Shapes: b captions, l tokens of a caption, m tokens of a target, d width.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .loop import LoopConfig, Preview, RunState, TrainResult, train
from .optim import OptimConfig
from .options import TrainOptions
from .text_data import TextPool, corrupt_spans, text_pool, trim
from .tokenizer import EOS, PAD, pieces, save_tokenizer

if TYPE_CHECKING:
    from transformers import T5Config

FOLDER = "text_encoder"
LOOP = LoopConfig(decay_start=0.4, ema_half_life=60.0, warmup_steps=50)


@dataclass(frozen=True, kw_only=True)
class TextModelConfig:
    """The tiny T5's size, and what it is trained on."""

    d_model: int = 128  # width of a token
    layers: int = 4  # of the encoder
    heads: int = 4  # of every attention
    d_kv: int = 32  # width of a head
    d_ff: int = 256  # width inside of the feed-forward layers
    decoder_layers: int = 1  # of the decoder, which is thrown away
    span_share: float = 0.2  # of a batch; the rest learns to parse
    captions: int = 250_000  # that it learns to parse
    probe_captions: int = 8_000  # that the finished encoder is measured on


def t5_config(config: TextModelConfig) -> T5Config:
    """The transformers configuration of the shipped encoder (and of the decoder that trains it)."""
    from transformers import T5Config

    return T5Config(
        vocab_size=len(pieces()),
        d_model=config.d_model,
        d_kv=config.d_kv,
        d_ff=config.d_ff,
        num_layers=config.layers,
        num_decoder_layers=config.decoder_layers,
        num_heads=config.heads,
        feed_forward_proj="gated-gelu",
        dropout_rate=0.0,  # captions never run out
        pad_token_id=PAD,
        eos_token_id=EOS,
        decoder_start_token_id=PAD,
        tie_word_embeddings=False,
    )


class _ScaledLinear(nn.Linear):
    """A linear layer whose output is scaled; `export_encoder` folds the factor into the weights.

    T5 does not divide query times key by sqrt(d_kv), but starts from small queries. With steps as large as ours the
    attention saturates (logits with a standard deviation of 50 to 85 were measured): train divided, ship T5's form.
    """

    def __init__(self, linear: nn.Linear, scale: float):
        super().__init__(linear.in_features, linear.out_features, bias=False)
        nn.init.normal_(self.weight, std=linear.in_features**-0.5)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * self.scale


def _prepare_attention(stack: nn.Module, config: TextModelConfig) -> None:
    """Scale all queries, and start the position biases from looking near (T5 starts from next to no positions).

    Without it, colors and shapes stayed unbound: the biases learn far more slowly than what they are added to.
    """
    for module in list(stack.modules()):
        if hasattr(module, "q"):
            module.q = _ScaledLinear(module.q, config.d_kv**-0.5)
    table = stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight  # buckets heads
    far = torch.tensor([*range(8), 9.0, 13.0, 19.0, 27.0, 38.0, 54.0, 77.0, 108.0])  # a bucket's distance
    with torch.no_grad():
        for head in range(table.shape[1]):
            near = -far * (1.0, 1.0, 0.2, 0.05)[head % 4]
            if stack.is_decoder:
                table[:, head] = -torch.arange(32.0).clamp_max(24) * (1.0, 0.4, 0.1, 0.0)[head % 4]
                continue
            table[:16, head] = near - (8.0 if head % 4 == 1 else 0.0)  # the past, and the token itself
            table[16:, head] = near - (8.0 if head % 4 in (0, 2) else 0.0)  # the future


class TextModel(nn.Module):
    """Encoder, decoder and head; the embeddings are not shared, so that the encoder stands alone."""

    def __init__(self, config: TextModelConfig):
        super().__init__()
        from transformers import T5ForConditionalGeneration

        whole = T5ForConditionalGeneration(t5_config(config))
        self.encoder, self.decoder = whole.encoder, whole.decoder
        self.encoder.embed_tokens, self.decoder.embed_tokens = (
            nn.Embedding(len(pieces()), config.d_model) for _ in range(2)
        )
        for stack in (self.encoder, self.decoder):
            _prepare_attention(stack, config)
        self.head = nn.Linear(config.d_model, len(pieces()), bias=False)

    def encode(self, source: Tensor) -> Tensor:
        """Token ids (b l) -> embeddings (b l d)."""
        return self.encoder(input_ids=source, attention_mask=(source != PAD).long()).last_hidden_state

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits (b m vocabulary) of each target token, given those before it."""
        before = F.pad(target, (1, 0), value=PAD)[:, :-1]  # b m
        hidden = self.decoder(
            input_ids=before,
            encoder_hidden_states=self.encode(source),
            encoder_attention_mask=(source != PAD).long(),
            use_cache=False,
        ).last_hidden_state
        return self.head(hidden)


@dataclass(frozen=True, kw_only=True)
class TextTask:
    """A batch: captions to parse, and captions with spans to fill in."""

    pool: TextPool
    held_out: TextPool
    batch_size: int
    helper: None = None
    span_share: float

    def loss(self, model: nn.Module, generator: torch.Generator, progress: float) -> Tensor:
        captions, parses = self.pool.draw(self.batch_size, generator)
        spans = torch.rand(self.batch_size, generator=generator).argsort()[: int(self.span_share * self.batch_size)]
        is_parse = torch.ones(self.batch_size, dtype=torch.bool).index_fill_(0, spans, False)
        source, target = corrupt_spans(captions[spans], generator)
        loss = token_loss(model, captions[is_parse], parses[is_parse]).sum()
        loss = loss + token_loss(model, source, target).sum()
        return loss / self.batch_size

    def preview(self, model: nn.Module) -> Preview:
        return Preview(figures={"parsed": parse_accuracy(model, self.held_out)})


def token_loss(model: nn.Module, source: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy a caption (b,): its tokens' mean."""
    device = next(model.parameters()).device
    source, target = trim(source).to(device), trim(target).to(device)
    losses = F.cross_entropy(model(source, target).float().mT, target, ignore_index=PAD, reduction="none")  # b m
    return losses.sum(1) / (target != PAD).sum(1)


@torch.no_grad()
def parse_accuracy(model: nn.Module, pool: TextPool) -> float:
    """Share of captions whose every parse token is right, given the right ones before it."""
    device = next(model.parameters()).device
    source, target = pool.captions.to(device), pool.parses.to(device)
    wrong = (model(source, target).argmax(2) != target) & (target != PAD)
    return 1.0 - wrong.any(1).float().mean().item()


def _need_transformers() -> None:
    """Say what to install before anything long begins. Only this stage trains through transformers' T5."""
    if importlib.util.find_spec("transformers") is None:
        raise ValueError("training the text encoder needs transformers: pip install -e '.[train]'")


def train_text_encoder(options: TrainOptions, *, config: TextModelConfig | None = None) -> dict[str, object]:
    """Train on text alone, export the encoder, read its embeddings with a probe; returns the figures.

    Writes models_dir/text_encoder (unless options.export is False, or a signal stopped it). The base stage trains on
    the exported encoder's outputs: once a base has seen it, it must not change.
    """
    _need_transformers()
    config = config or TextModelConfig()
    torch.manual_seed(options.seed)
    task = TextTask(
        pool=text_pool(config.captions, seed=options.seed),
        held_out=text_pool(512, seed=options.seed, held_out=True, shuffle_clauses=False),
        batch_size=options.batch_size or 128,
        span_share=config.span_share,
    )
    result = train(TextModel(config), task, options, optim=OptimConfig(), config=LOOP)
    figures = {**_figures(result), "parsed": parse_accuracy(result.model, task.held_out)}
    if not options.export or result.interrupted:
        return figures
    from .text_probe import probe_folder

    folder = export_encoder(result.model, config, options.models_dir / FOLDER)
    return {**figures, "folder": str(folder), **probe_folder(folder, seed=options.seed, captions=config.probe_captions)}


def _figures(result: TrainResult) -> dict[str, object]:
    state: RunState = result.state
    minutes = state.seconds / 60
    return {"steps": state.step, "captions": state.images, "minutes": minutes, "interrupted": result.interrupted}


def export_encoder(model: TextModel, config: TextModelConfig, folder: Path) -> Path:
    """Write config.json, model.safetensors (float32) and tokenizer.json as transformers lays out a T5 encoder."""
    from transformers import T5EncoderModel

    settings = t5_config(config)
    settings.tie_word_embeddings = True
    encoder = T5EncoderModel(settings)
    scales = {f"{name}.weight": m.scale for name, m in model.encoder.named_modules() if isinstance(m, _ScaledLinear)}
    weights = {key: value.cpu().float() * scales.get(key, 1.0) for key, value in model.encoder.state_dict().items()}
    state = {f"encoder.{key}": value for key, value in weights.items()}
    encoder.load_state_dict({**state, "shared.weight": state["encoder.embed_tokens.weight"]})
    encoder.eval().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    save_tokenizer(folder)
    return folder
