"""Which model do people prefer, and how sure is that? Votes of several raters, by question and category (section 4.1).

A vote is 1 for the first model, 0 for the second and a half for no difference. Votes on one prompt are no independent
news of the models, so a prompt counts once, by the mean of its votes, and intervals are those of as many prompts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .side_by_side import FORMAT, KEY

QUESTIONS = ("quality", "alignment")
CHOICES = ("left", "same", "right")
VOTES = "imagen-votes"
Z = 1.959964  # 95 % of a Gaussian lie within so many deviations


@dataclass(frozen=True, kw_only=True)
class Preference:
    """Of one question in one category."""

    share: float  # for the first model, in [0, 1]: a half is none
    low: float  # of the 95 % interval
    high: float
    prompts: int
    first: int  # votes for the first model, for no difference, for the second
    same: int
    second: int


def wilson(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a mean in [0, 1] of `count` independent values in [0, 1].

    Exact in form for zeros and ones; for values between them, whose variance is at most share (1 - share), it is on the
    safe side. ValueError: nothing was counted.
    """
    if count < 1:
        raise ValueError("there is no interval of no values")
    middle = share + z * z / (2 * count)
    reach = z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, (middle - reach) / (1 + z * z / count)), min(1.0, (middle + reach) / (1 + z * z / count))


def read_key(path: Path) -> dict[str, Any]:
    """The key of a page. ValueError: it is none."""
    key = _read(path)
    if key.get("format") != FORMAT or not isinstance(key.get("items"), dict):
        raise ValueError(f"{path} is no key of a comparison: name the {KEY} that `imagen evaluate prompts` wrote")
    return key


def key_beside(files: Sequence[Path]) -> Path:
    """The key in the folder of the votes. ValueError: there is none."""
    for folder in dict.fromkeys(file.parent for file in files):
        if (folder / KEY).is_file():
            return folder / KEY
    raise ValueError(f"there is no {KEY} beside the votes: name it by --key, as `imagen evaluate prompts` wrote it")


def read_votes(path: Path, key: Mapping[str, Any]) -> dict[str, Any]:
    """One rater's votes on the page of `key`. ValueError: another page's, or none."""
    told = _read(path)
    if told.get("format") != VOTES or not isinstance(told.get("votes"), dict):
        raise ValueError(f"{path} holds no votes: name the files that people saved on the page")
    if told.get("page") != key["page"]:
        raise ValueError(f"{path} holds votes on another page ({told.get('page')}, and the key is of {key['page']})")
    for item, answers in told["votes"].items():
        if item not in key["items"]:
            raise ValueError(f"{path} votes on {item!r}, which the page has not")
        known = isinstance(answers, dict) and set(answers) <= set(QUESTIONS)
        if not known or not all(choice in CHOICES for choice in answers.values()):
            raise ValueError(f"{path} answers {answers!r} for {item}: left, same or right was asked, of {QUESTIONS}")
    return told


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON ({error}): name files that people saved on the page") from error
    if not isinstance(told, dict):
        raise ValueError(f"{path} is a JSON of another kind: name files that people saved on the page")
    return told


def counted(key: Mapping[str, Any], ballots: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Preference]]:
    """Preferences by question and category, and of all prompts as "all". ValueError: no votes, or a rater twice."""
    raters = [ballot.get("rater") for ballot in ballots]
    if twice := [rater for rater in raters if raters.count(rater) > 1]:
        raise ValueError(f"the votes of rater {twice[0]} are given twice: leave the older file out")
    found: dict[str, dict[str, Preference]] = {}
    for question in QUESTIONS:
        scores = _scores(key, ballots, question)
        if not scores:
            continue
        categories = dict.fromkeys(key["items"][item]["category"] for item in scores)
        parts = {name: [scores[i] for i in scores if key["items"][i]["category"] == name] for name in categories}
        found[question] = {name: _preference(part) for name, part in sorted(parts.items())}
        found[question]["all"] = _preference(list(scores.values()))
    if not found:
        raise ValueError("nobody has voted yet: no answer stands in these files")
    return found


def _scores(key: Mapping[str, Any], ballots: Sequence[Mapping[str, Any]], question: str) -> dict[str, list[float]]:
    """Every vote on a question for the first model, by prompt."""
    scores: dict[str, list[float]] = {}
    for ballot in ballots:
        for item, answers in ballot["votes"].items():
            if question in answers:
                scores.setdefault(item, []).append(_score(answers[question], key["items"][item]["left"]))
    return scores


def _score(choice: str, left: int) -> float:
    if choice == "same":
        return 0.5
    return float((choice == "left") == (left == 0))


def _preference(prompts: Sequence[Sequence[float]]) -> Preference:
    share = math.fsum(math.fsum(votes) / len(votes) for votes in prompts) / len(prompts)
    low, high = wilson(share, len(prompts))
    every = [vote for votes in prompts for vote in votes]
    first, same, second = (every.count(value) for value in (1.0, 0.5, 0.0))
    return Preference(share=share, low=low, high=high, prompts=len(prompts), first=first, same=same, second=second)


def table(key: Mapping[str, Any], found: Mapping[str, Mapping[str, Preference]]) -> str:
    """The same to be read: a line a category."""
    first, second = key["models"]
    lines = [f"A: {first}", f"B: {second}"]
    for question, categories in found.items():
        lines += ["", f"{question}: preference for A, 95 % interval (votes for A, no difference, for B)"]
        width = max(map(len, categories))
        lines += [f"  {name:{width}}  {_line(each)}" for name, each in categories.items()]
    return "\n".join(lines)


def _line(each: Preference) -> str:
    sure = "A" if each.low > 0.5 else "B" if each.high < 0.5 else "open"
    votes = f"{each.first}, {each.same}, {each.second}"
    return f"{each.share:4.0%} [{each.low:4.0%}, {each.high:4.0%}] of {each.prompts} prompts ({votes}): {sure}"
