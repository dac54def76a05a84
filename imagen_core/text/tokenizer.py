"""How is a prompt cut into token ids? By the tokenizer file that belongs to the text encoder, or a .gguf's vocabulary."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from .archives import GgufArchive

TOKENIZER_FILES = ("tokenizer.json", "spiece.model", "vocab.json")  # the last is CLIP's, with merges.txt beside it
# What CLIP's words are before they are cut into pieces (arXiv 2103.00020, section 2.4, as its authors published it).
CLIP_WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
CLIP_MARKS = ("<|startoftext|>", "<|endoftext|>")
PADDING_MARK = "<|endoftext|>"  # GPT-2's last token
_NORMAL, _USER_DEFINED = 1, 4  # kinds of tokens in a .gguf that text may contain


class Tokenizer(Protocol):
    """Text to token ids and back, without special tokens. `size`: how many ids there are; `id_of`: a token's, or None.

    `unknown`: the id of what is in no token; None where everything is in one, or it is not known which.
    """

    size: int
    unknown: int | None

    def ids(self, text: str) -> list[int]: ...

    def text(self, ids: list[int]) -> str: ...

    def id_of(self, token: str) -> int | None: ...


_UNKNOWN = ("[UNK]", "<unk>")  # BERT's and T5's
# T5's marks: typed in a prompt they are the mark itself, as transformers reads them.
_MARK = re.compile(r"</s>|<pad>|<unk>|<extra_id_(\d\d?)>")
T5_PIECES, T5_EXTRA = (
    32000,
    100,
)  # a spiece.model of so many pieces is T5's, whose extra ids are counted down after them


def _ids_between_marks(text: str, ids: Callable[[str], list[int]], id_of: Callable[[str], int | None]) -> list[int]:
    """The ids of what lies between marks, read piece by piece, and of the marks that the vocabulary has."""
    found: list[int] = []
    start = 0
    for mark in _MARK.finditer(text):
        if (own := id_of(mark[0])) is not None:
            found += [*ids(text[start : mark.start()]), own]
            start = mark.end()
    return found + ids(text[start:])


class _FastTokenizer:
    """What the `tokenizers` library reads: tokenizer.json, or one built from a vocabulary.

    marks: ids of the marks that such a vocabulary has; a tokenizer.json knows its own.
    """

    def __init__(self, tokenizer, marks: Mapping[str, int] | None = None) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer, self._marks = tokenizer, marks or {}
        self.size: int = tokenizer.get_vocab_size()
        of_pieces = type(tokenizer.model).__name__ in ("WordPiece", "Unigram")  # of bytes, everything is made
        self.unknown = next(filter(None, map(self.id_of, _UNKNOWN)), None) if of_pieces else None

    def ids(self, text: str) -> list[int]:
        return _ids_between_marks(text, self._plain, self._marks.get)

    def _plain(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)

    def id_of(self, token: str) -> int | None:
        return self._tokenizer.token_to_id(token)


class _SentencePieceTokenizer:
    """spiece.model, read by the `sentencepiece` library."""

    def __init__(self, path: Path) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise ValueError(f"{path} needs the sentencepiece package: `pip install sentencepiece`") from error
        try:
            self._processor = SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a tokenizer ({error}): download or copy it again") from error
        self.size: int = self._processor.vocab_size()
        self.unknown: int | None = self._processor.unk_id()

    def ids(self, text: str) -> list[int]:
        return _ids_between_marks(text, self._processor.encode, self._mark)

    def _mark(self, name: str) -> int | None:
        if name == "<unk>":
            return self._processor.unk_id()
        if name.startswith("<extra_id_") and self.size == T5_PIECES:
            return T5_PIECES + T5_EXTRA - 1 - int(name[len("<extra_id_") : -1])
        return self.id_of(name)

    def text(self, ids: list[int]) -> str:
        return self._processor.decode([each for each in ids if each < self.size])

    def id_of(self, token: str) -> int | None:
        found = self._processor.piece_to_id(token)
        return None if found == self._processor.unk_id() else found


def _from_json(path: Path) -> _FastTokenizer:
    from tokenizers import Tokenizer as FastTokenizer

    try:
        return _FastTokenizer(FastTokenizer.from_file(str(path)))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path} cannot be read as a tokenizer ({error}): download or copy it again") from error


def _from_vocabulary(path: Path) -> _FastTokenizer:
    """CLIP's vocab.json and the merges.txt beside it: byte pairs of lower-case words that end in </w>."""
    from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as FastTokenizer

    try:
        pieces = models.BPE.from_file(
            str(path), str(path.with_name("merges.txt")), end_of_word_suffix="</w>", unk_token=CLIP_MARKS[1]
        )
        tokenizer = FastTokenizer(pieces)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path} and its merges.txt cannot be read ({error}): download or copy them again") from error
    if any(tokenizer.token_to_id(mark) is None for mark in CLIP_MARKS):
        raise ValueError(f"{path} is no CLIP's vocabulary: it has no {CLIP_MARKS[0]}; get the model's tokenizer.json")
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    words = pre_tokenizers.Split(Regex(CLIP_WORDS), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("</w>", " ")])
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in CLIP_MARKS])
    return _FastTokenizer(tokenizer)


def byte_pair_tokenizer(merges: Path) -> Tokenizer:
    """GPT-2's way, from its merges.txt alone: any text, to its last byte, with no mark that typing could bring about.

    Raises FileNotFoundError, or ValueError for a file that holds something else.
    """
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import decoders, models, pre_tokenizers

    if not merges.is_file():
        raise FileNotFoundError(f"no byte pairs at {merges}: get the folder's files again")
    try:
        lines = merges.read_text(encoding="utf-8").splitlines()
        pairs = [
            (first, second) for first, second in (line.split() for line in lines if not line.startswith("#version"))
        ]
        tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, pairs), PADDING_MARK]
        tokenizer = FastTokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{merges} cannot be read as byte pairs ({error}): get it again") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _FastTokenizer(tokenizer)


def load_tokenizer(path: Path) -> Tokenizer:
    """From tokenizer.json, spiece.model, vocab.json, or a folder with one; FileNotFoundError, or ValueError where broken."""
    if path.is_dir():
        found = tokenizer_file(path)
        if found is None:
            raise FileNotFoundError(
                f"{path} has neither tokenizer.json nor spiece.model: add the encoder's own tokenizer"
            )
        path = found
    if not path.is_file():
        raise FileNotFoundError(f"no tokenizer at {path}: check the name, or put the encoder's own tokenizer there")
    if path.name == "vocab.json":
        return _from_vocabulary(path)
    return _from_json(path) if path.suffix == ".json" else _SentencePieceTokenizer(path)


def tokenizer_file(folder: Path) -> Path | None:
    """The tokenizer in a folder, if there is one."""
    return next((folder / name for name in TOKENIZER_FILES if (folder / name).is_file()), None)


def find_tokenizer(places: Iterable[Path], vocab_size: int, file: Path) -> tuple[Tokenizer, Path]:
    """The first tokenizer, among files and folders, that fits an embedding table of `vocab_size` rows, and its file.

    T5's table has 32128 rows, its spiece.model 32000 ids, its tokenizer.json 32100. FileNotFoundError if none fits.
    """
    broken = ""
    for place in places:
        found = tokenizer_file(place) if place.is_dir() else place
        if found is None or not found.is_file():
            continue
        try:
            tokenizer = load_tokenizer(found)
        except ValueError as error:  # it may belong to something else: look on
            broken = broken or f" ({error})"
            continue
        if fits(tokenizer, vocab_size):
            return tokenizer, found
    raise FileNotFoundError(
        f"{file} has no tokenizer: put the spiece.model or tokenizer.json of the model that it was made from beside it "
        f"(for t5xxl files the spiece.model of google/t5-v1_1-xxl, which every T5 1.1 shares).{broken}"
    )


def fits(tokenizer: Tokenizer, vocab_size: int) -> bool:
    """Whether every id has a row in the table, and the table is not meant for another vocabulary.

    T5's 32000 pieces in 32128 rows do; BERT's 30522, which are .950 of them, do not.
    """
    return 0.99 * vocab_size <= tokenizer.size <= vocab_size


def tokenizer_of_gguf(archive: GgufArchive) -> Tokenizer | None:
    """A tokenizer built from the vocabulary in a .gguf file; None if it carries none of T5's kind."""
    fields = {key.removeprefix("tokenizer.ggml."): value for key, value in archive.metadata.items()}
    if fields.get("model") != "t5":
        return None
    pieces, scores, kinds = (list(fields.get(name, ())) for name in ("tokens", "scores", "token_type"))
    kinds = kinds or [_NORMAL] * len(pieces)
    if not pieces or not len(pieces) == len(scores) == len(kinds):
        raise ValueError(f"{archive.path}: its vocabulary has no score for each token; get the file again")
    charsmap = np.asarray(fields.get("precompiled_charsmap", ()), np.uint8).tobytes()
    try:
        marks = {piece: i for i, piece in enumerate(pieces) if _MARK.fullmatch(piece)}
        return _FastTokenizer(_unigram(pieces, scores, kinds, int(fields.get("unknown_token_id", 2)), charsmap), marks)
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{archive.path}: its vocabulary cannot be used ({error}); get the file again") from error


def _unigram(pieces: list[str], scores: list[float], kinds: list[int], unknown: int, charsmap: bytes):
    """sentencepiece's Unigram model and its normalisation, in the `tokenizers` library."""
    from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers
    from tokenizers import Tokenizer as FastTokenizer

    in_text = [kind in (_NORMAL, _USER_DEFINED) for kind in kinds]
    lowest = min((float(score) for score, usable in zip(scores, in_text, strict=True) if usable), default=0.0)
    vocabulary = [  # </s> and the like must not be found in what people type: no text holds a NUL
        (piece, float(score)) if usable else (f"\0{i}", lowest)
        for i, (piece, score, usable) in enumerate(zip(pieces, scores, in_text, strict=True))
    ]
    tokenizer = FastTokenizer(models.Unigram(vocabulary, unk_id=unknown))
    steps = [normalizers.Precompiled(charsmap)] if charsmap else [normalizers.NFKC()]
    steps += [normalizers.Replace("\0", " "), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    return tokenizer
