"""How were the captions cleaned that DeepFloyd IF was trained on, and so how is a prompt for it?

Its authors took out what makes a caption of the web and describes no picture: addresses, tags, file names, article
numbers, shop talk, odd punctuation, Chinese characters. The rules are theirs, in their order, and all are gone through
twice, for what one leaves another may catch.
"""

from __future__ import annotations

import html
import html.parser
import re
import urllib.parse
import warnings
from collections.abc import Iterable

from .reading import TextReading

CLEAN = ("auto", "on", "off")
MOST_CHARACTERS = 4000  # ten times what 77 tokens hold; some rules take time with the square of a text's length
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)
_UNSEEN = frozenset(("script", "style", "template", "rt", "rp"))  # elements whose text no reader sees

Rules = tuple[tuple[re.Pattern[str], str], ...]


def _rules(*pairs: tuple[str, str]) -> Rules:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_SITE = r"[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b/?(?!@)"
_ADDRESSES = _rules(
    ("<person>", "person"),  # how data sets hide a name
    (rf"\b(?:https?:(?:/{{1,3}}|[a-zA-Z0-9%])|{_SITE})", ""),
    (rf"\b(?:www:(?:/{{1,3}}|[a-zA-Z0-9%])|{_SITE})", ""),
)
_FILES = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"
_MARKS = _rules(
    (r"@\w+\b", ""),  # somebody's handle
    ("[\u31c0-\u9fff]+", ""),  # CJK strokes and characters
    (
        "[\u002d\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030\u30a0\ufe31\ufe32\ufe58\ufe63"
        "\uff0d]+",
        "-",
    ),  # every kind of dash
    ("[`\u00b4\u00ab\u00bb\u201c\u201d\u00a8]", '"'),  # every kind of quotation mark
    ("[\u2018\u2019]", "'"),
    (r"&quot;?", ""),
    (r"&amp", ""),
    (r"\d{1,3}(?:\.\d{1,3}){3}", " "),  # an IP address
    (r"\d:\d\d\s+$", ""),  # an article's id
    (r"\\n", " "),  # a line's end, spelled out
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"\S+\.(?:{_FILES})", ""),  # a file's name
    (r"[\"']{2,}", '"'),
    (r"\.{2,}", " "),
    (r"[#\u00ae\u2022\u00a9\u2122&@\u00b7\u00ba\u00bd\u00be\u00bf\u00a1\u00a7~()\[\]{}|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)
_JOINED = re.compile("[-_]")
_MOST_JOINTS = 3  # with more of them, words-are-joined-like-this
_SHOP_TALK = _rules(
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),  # jc6640
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),  # jc6640vc
    (r"\b\d+[a-zA-Z]+\d+\b", ""),  # 6640vc231
    (r"(?:worldwide\s+)?(?:free\s+)?shipping", ""),
    (r"(?:free\s)?download(?:\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_FILES})(?:\simages?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),  # j2d1a2a
    ("\\b\\d+\\.?\\d*[x\u0445\u00d7]\\d+\\.?\\d*\\b", ""),  # 1024x768, with a Cyrillic x too
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
)
_ENDS = _rules(
    (r"^[\"']([\w\W]+)[\"']$", r"\1"),  # quoted as a whole
    (r"^['_,\-:;]", ""),
    (r"['_,\-:+]$", ""),
    (r"^\.\S+$", ""),
)


def prepared(text: str, reading: TextReading, *, clean: str = "auto") -> str:
    """A prompt as it goes to the encoder.

    clean: "on", "off", or "auto": where the stage's captions were. Warns where cleaning leaves nothing of a text.
    ValueError for another choice.
    """
    if clean not in CLEAN:
        raise ValueError(f"clean_prompt is {clean!r}: expected one of {', '.join(CLEAN)}")
    if clean == "on" or (clean == "auto" and reading.cleaned):
        cleaned = cleaned_caption(text)
        if text.strip() and not cleaned:
            warnings.warn(
                f"Cleaning left nothing of the prompt {text.strip()[:40]!r}: set clean_prompt to off.", stacklevel=3
            )
        return cleaned
    return text.lower().strip() if reading.lower_case else text


def cleaned_caption(text: str) -> str:
    """The text as IF's authors cleaned it. Characters that were decoded wrongly are mended where ftfy is installed."""
    return _cleaned_once(_cleaned_once(text[:MOST_CHARACTERS]))


def _cleaned_once(text: str) -> str:
    text = _applied(_ADDRESSES, urllib.parse.unquote_plus(text).strip().lower())
    text = _applied(_MARKS, _visible_text(text))
    if len(_JOINED.findall(text)) > _MOST_JOINTS:
        text = _JOINED.sub(" ", text)
    text = html.unescape(html.unescape(_mended(text)))
    return _applied(_ENDS, _applied(_SHOP_TALK, text)).strip()


def _applied(rules: Iterable[tuple[re.Pattern[str], str]], text: str) -> str:
    for pattern, replacement in rules:
        text = pattern.sub(replacement, text)
    return text


def _mended(text: str) -> str:
    """ftfy's repair of text decoded wrongly; without ftfy as it is, which plain ASCII nearly always is already."""
    try:
        import ftfy
    except ImportError:
        if not text.isascii():
            warnings.warn(
                "ftfy is not installed, so odd characters in the prompt stay as they are: pip install ftfy",
                stacklevel=6,
            )
        return text
    return ftfy.fix_text(text)


def _visible_text(text: str) -> str:
    """What a reader would see of a piece of HTML; all of a text that is none."""
    reader = _Reader()
    try:
        reader.feed(text)
        reader.close()
    except AssertionError:  # how the library refuses a declaration that it cannot make sense of
        return text
    return "".join(reader.seen)


class _Reader(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.seen: list[str] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if _UNSEEN.isdisjoint(self._open):
            self.seen.append(data)

    def handle_entityref(self, name: str) -> None:
        self.handle_data(html.entities.html5.get(f"{name};", f"&{name}"))

    def handle_charref(self, name: str) -> None:
        self.handle_data(html.unescape(f"&#{name};"))

    def unknown_decl(self, data: str) -> None:
        if data.upper().startswith("CDATA["):
            self.handle_data(data[len("CDATA[") :])
