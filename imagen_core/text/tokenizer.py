"""How is a prompt cut into token ids? By the tokenizer file that came with the text encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Tokenizer(Protocol):
    """Text to token ids and back, without special tokens."""

    def ids(self, text: str) -> list[int]: ...

    def text(self, ids: list[int]) -> str: ...


class _JsonTokenizer:
    """tokenizer.json, read by the `tokenizers` library."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as FastTokenizer

        try:
            self._tokenizer = FastTokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise ValueError(f"{path} cannot be read as a tokenizer ({error}); download or copy it again.") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def ids(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def text(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)


class _SentencePieceTokenizer:
    """spiece.model, read by the `sentencepiece` library."""

    def __init__(self, path: Path) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise ValueError(f"{path} needs the sentencepiece package: `pip install sentencepiece`.") from error
        try:
            self._processor = SentencePieceProcessor(model_file=str(path))
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{path} cannot be read as a tokenizer ({error}); download or copy it again.") from error

    def ids(self, text: str) -> list[int]:
        return self._processor.encode(text)

    def text(self, ids: list[int]) -> str:
        return self._processor.decode(ids)


def load_tokenizer(path: Path) -> Tokenizer:
    """From tokenizer.json, spiece.model, or a folder with one; FileNotFoundError, or ValueError for a broken file."""
    if path.is_dir():
        names = [path / "tokenizer.json", path / "spiece.model"]
        if not any(name.is_file() for name in names):
            raise FileNotFoundError(
                f"{path} has neither tokenizer.json nor spiece.model; add the encoder's own tokenizer."
            )
        path = next(name for name in names if name.is_file())
    if not path.is_file():
        raise FileNotFoundError(f"No tokenizer at {path}; check the name, or put the encoder's own tokenizer there.")
    return _JsonTokenizer(path) if path.suffix == ".json" else _SentencePieceTokenizer(path)
