"""Which pieces does imagen-mini's text encoder cut a caption into?

An explicit Unigram vocabulary: every word of the caption grammar whole (lower case, and capitalised as at the start of
a sentence), then single characters, from which sign words and unknown words are spelled. A vocabulary trained on the
same captions needed three times the pieces a caption.
"""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imagen_core.whole_files import write

from .scenes.vocabulary import CAPTION_WORDS, PARSE_WORDS

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, EOS, UNK = 0, 1, 2
SENTINELS = 8
FIRST_SENTINEL = 3
MAX_TOKENS = 128

SPACE = "▁"  # a word's beginning (Metaspace)
WORD_SCORE, CHARACTER_SCORE = -6.0, -8.0  # any two pieces score less than one: the longest piece wins
ACCENTED = "àáâäåæçèéêëìíîïñòóôöøùúûüßœÀÁÂÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÖØÙÚÛÜ"
QUOTES = "“”‘’«»–—…€£°"


def pieces() -> list[tuple[str, float]]:
    """The vocabulary in order of its ids, each piece with its log-probability."""
    special = ["<pad>", "</s>", "<unk>", *sentinels()]
    words = dict.fromkeys((*CAPTION_WORDS, *PARSE_WORDS))
    words = [word for word in words if len(word) > 1 or word.isalnum()]
    capitalised = [word.capitalize() for word in words if word[0].isalpha()]
    whole = dict.fromkeys(SPACE + word for word in (*words, *capitalised, '"', ";"))
    printable = [*string.ascii_letters, *string.digits, *string.punctuation, *ACCENTED, *QUOTES]
    characters = [c for c in (SPACE, *dict.fromkeys(printable)) if c not in whole]
    return [
        *((piece, 0.0) for piece in special),
        *((piece, WORD_SCORE) for piece in whole),
        *((piece, CHARACTER_SCORE) for piece in characters),
    ]


def sentinels() -> list[str]:
    """What stands for a span that was taken out (T5's span corruption)."""
    return [f"<extra_id_{i}>" for i in range(SENTINELS)]


def build_tokenizer() -> Tokenizer:
    """The `tokenizers` object: any unicode text in, ids out with </s> at the end, unknown characters as <unk>."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.Unigram(pieces(), unk_id=UNK, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", EOS)])
    special = ["<pad>", "</s>", "<unk>", *sentinels()]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer


def save_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and the tokenizer_config.json that transformers 4 and 5 read beside it."""
    write(folder / "tokenizer.json", build_tokenizer().to_str(pretty=True).encode())
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "model_max_length": MAX_TOKENS,
    }
    write(folder / "tokenizer_config.json", (json.dumps(config, indent=2) + "\n").encode())


def encode_all(texts: Sequence[str]) -> list[list[int]]:
    """Ids of every text, </s> included."""
    return [encoding.ids for encoding in build_tokenizer().encode_batch(list(texts))]
