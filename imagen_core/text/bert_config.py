"""How large is a BERT encoder? From its config.json (Devlin et al., arXiv 1810.04805)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .t5_config import MOST_LAYERS, read_json

ACTIVATIONS = ("gelu", "gelu_new", "relu")
SIZES = {  # ours: transformers'
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "max_positions": "max_position_embeddings",
    "token_types": "type_vocab_size",
}


@dataclass(frozen=True, kw_only=True)
class BertConfig:
    """The encoder's dimensions, named as `T5Config`'s where they mean the same."""

    vocab_size: int  # rows of the table of embeddings
    d_model: int  # width of a token, and so of a prompt's embeddings
    d_ff: int  # width inside of the feed-forward layers
    num_layers: int  # blocks, each attention and feed-forward
    num_heads: int  # d_model is a multiple of it
    max_positions: int = 512  # the longest prompt, its marks included: positions are learned
    token_types: int = 2  # kinds of sentence; a prompt is of the first kind
    layer_norm_epsilon: float = 1e-12  # of every layer norm
    activation: str = "gelu"  # one of ACTIVATIONS
    pad_token_id: int = 0  # [PAD]
    prefix_ids: tuple[int, ...] = (101,)  # [CLS]
    eos_token_id: int = 102  # [SEP]

    def __post_init__(self) -> None:
        for name in SIZES:
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value < 2**31:
                raise ValueError(f"{SIZES[name]} is {value!r}: expected a whole number from 1")
        if self.num_layers > MOST_LAYERS:
            raise ValueError(f"num_hidden_layers is {self.num_layers}: BERT-large has 24")
        if self.d_model % self.num_heads:
            raise ValueError(f"hidden_size {self.d_model} is no multiple of num_attention_heads {self.num_heads}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"hidden_act is {self.activation!r}: expected one of {', '.join(ACTIVATIONS)}")
        if not isinstance(self.layer_norm_epsilon, (int, float)) or not 0 < self.layer_norm_epsilon < 1:
            raise ValueError(f"layer_norm_eps is {self.layer_norm_epsilon!r}: expected a small number such as 1e-12")
        for mark in (self.pad_token_id, *self.prefix_ids, self.eos_token_id):
            if type(mark) is not int or not 0 <= mark < self.vocab_size:
                raise ValueError(f"a mark's id is {mark!r}: expected a row of the table of {self.vocab_size}")


def bert_config_from_json(path: Path, marks: tuple[int, int]) -> BertConfig:
    """Read config.json; marks: the tokenizer's ids of [CLS] and [SEP]. Raises ValueError naming the file and setting."""
    content = read_json(path)
    if content.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError(f"{path}: position_embedding_type {content['position_embedding_type']!r}; expected 'absolute'")
    values = {ours: content[theirs] for ours, theirs in SIZES.items() if theirs in content}
    names = {"layer_norm_epsilon": "layer_norm_eps", "activation": "hidden_act", "pad_token_id": "pad_token_id"}
    values |= {ours: content[theirs] for ours, theirs in names.items() if content.get(theirs) is not None}
    try:
        return BertConfig(**values, prefix_ids=marks[:1], eos_token_id=marks[1])
    except (ValueError, TypeError) as error:  # TypeError: one that has no default is not there
        raise ValueError(f"{path} describes no BERT encoder: {error}; get the encoder's own file") from error


def expected_bert_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """Every weight that the encoder needs, by transformers' names, with its shape. The pooler is not needed."""
    d, wide = config.d_model, config.d_ff
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, d),
        "embeddings.position_embeddings.weight": (config.max_positions, d),
        "embeddings.token_type_embeddings.weight": (config.token_types, d),
    }
    norms, linears = ["embeddings.LayerNorm"], {}
    for i in range(config.num_layers):
        layer = f"encoder.layer.{i}."
        linears |= {f"{layer}attention.self.{part}": (d, d) for part in ("query", "key", "value")}
        linears |= {f"{layer}attention.output.dense": (d, d)}
        linears |= {f"{layer}intermediate.dense": (wide, d), f"{layer}output.dense": (d, wide)}
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    for name in norms:
        shapes |= {f"{name}.weight": (d,), f"{name}.bias": (d,)}
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes
