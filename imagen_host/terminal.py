"""What does the command show while it runs and when it is done? Progress and errors on stderr, results on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .execution.engine import Result
from .graphs.forms import LONGEST, shown
from .graphs.overrides import title_of
from .validation import Validation


class Progress:
    """One bar for each node that reports steps; the engine's events drive it."""

    def __init__(self, prompt: dict, *, quiet: bool) -> None:
        self.prompt, self.quiet = prompt, quiet
        self.bar: Any = None
        self.node: str | None = None
        self.outer: dict[str, str] = {}  # by node inside another: the one of the prompt

    def __call__(self, kind: str, data: dict) -> None:
        if self.quiet:
            return
        node = self.outer.get(data.get("node"), data.get("node"))
        if kind == "expanded":
            self.outer |= {inner: names["real_node_id"] for inner, names in data["nodes"].items()}
        elif kind == "progress" and node is not None:
            self._advance(node, data["value"], data["max"])
        elif kind == "executing" and sys.stderr.isatty():
            self._open(node, total=None, bar_format="{desc} ...", leave=False)
        elif kind.startswith("execution_"):
            self.close()

    def _advance(self, node: str, value: int, total: int) -> None:
        if self.bar is None or self.node != node or self.bar.total != total or value < self.bar.n:
            self._open(node, total=total, unit="step")
        self.bar.update(value - self.bar.n)

    def _open(self, node: str, **options: Any) -> None:
        from tqdm import tqdm

        self.close()
        self.node, self.bar = node, tqdm(desc=title_of(node, self.prompt), file=sys.stderr, **options)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self.bar = None


def explain(validation: Validation, prompt: dict) -> Iterator[str]:
    """One line for each thing that is wrong: where, what, and what was expected."""
    for node, report in validation.node_errors.items():
        for error in report["errors"]:
            details = f": {error['details']}" if error["details"] else ""
            yield f"{name_of(node, prompt)}: {error['message']}{details}"
    if any(_names_a_file(error) for report in validation.node_errors.values() for error in report["errors"]):
        yield (
            "model files go into the pack's folder models/, or name theirs with --models DIR; `imagen download REPO` "
            "fetches published ones"
        )
    if validation.error is not None and not validation.node_errors:
        details = validation.error["details"]
        yield validation.error["message"] + (f" ({details})" if details and "Node ID" not in details else "")


def _names_a_file(error: dict) -> bool:
    """Whether a value that no list holds looks like a model: a list of options is another thing."""
    choices = (error["extra_info"].get("input_config") or [[]])[0]
    return error["type"] == "value_not_in_list" and any("/" in str(item) or "." in str(item) for item in choices)


def name_of(node: str, prompt: dict) -> str:
    """A node as messages name it: id, title and class."""
    title, kind, key = title_of(node, prompt), prompt[node].get("class_type"), shown(node)
    return f"node {key} ({kind})" if title == kind else f"node {key} {title!r:.{LONGEST}} ({kind})"


def saved_paths(result: Result, output: Path) -> list[str]:
    """Files that the run left in the output folder, in order of saving."""
    entries = [entry for ui in result.ui.values() for entry in ui.get("images", []) if isinstance(entry, dict)]
    kept = [entry for entry in entries if entry.get("type") == "output"]
    return [str(output / entry.get("subfolder", "") / entry["filename"]) for entry in kept]


def summary(result: Result, prompt: dict, images: list[str], seconds: float) -> dict:
    """What `imagen run --json` prints."""
    cached = set(result.cached)
    nodes = {
        node: {
            "class": prompt[node]["class_type"],
            "seconds": round(result.seconds.get(node, 0.0), 4),
            "cached": node in cached,
        }
        for node in [*result.seconds, *result.cached]
    }
    return {"images": images, "nodes": nodes, "seconds": round(seconds, 3), "peak_rss_mb": peak_rss_mb()}


def peak_rss_mb() -> float:
    """The most memory this process held, in MiB."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return round(psutil.Process().memory_info().peak_wset / 2**20, 1)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20, 1)
