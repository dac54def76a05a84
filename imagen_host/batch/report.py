"""How does one see what a batch has drawn? A page that opens offline: figures, failures with their jobs, all pictures."""

from __future__ import annotations

import html
import json
import math
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .. import whole_files
from .ledger import DONE, FAILED, Ledger, Record
from .plan import Job

A_PAGE = 500  # jobs
STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2em; background: #fff; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(160px, 1fr)); gap: 12px }
figure { margin: 0 } img { width: 100%; image-rendering: auto; background: #eee; display: block }
figcaption { font-size: 12px; overflow-wrap: anywhere } nav a { margin-right: .6em }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } img { background: #333 } a { color: #8bf } }
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of the command did. `seconds` is its whole time, workers' beginnings included."""

    drawn: int = 0
    pictures: int = 0
    failed: int = 0
    found: int = 0  # jobs that were done before
    seconds: float = 0.0
    workers: int = 0

    @property
    def rate(self) -> float:
        """Pictures a second."""
        return self.pictures / self.seconds if self.seconds else 0.0


def write(ledger: Ledger, jobs: list[Job], run: Run, title: str) -> Path:
    """Write report.html (and its further pages) and report.json; returns the first page."""
    records = [(job, ledger.records.get(job.key)) for job in jobs]
    pages = [records[i : i + A_PAGE] for i in range(0, len(records), A_PAGE)] or [[]]
    names = [f"report{f'-{number}' if number > 1 else ''}.html" for number in range(1, len(pages) + 1)]
    summary = summarise(records, run)
    for number, (name, page) in enumerate(zip(names, pages, strict=True)):
        head = _figures(summary, title) + _failures(summary["failures"]) if number == 0 else ""
        body = head + _links(names, number) + _sheet(page) + _links(names, number)
        whole_files.write(ledger.folder / name, _page(title, body).encode())
    whole_files.write(ledger.folder / "report.json", (json.dumps(summary, indent=2, default=str) + "\n").encode())
    return ledger.folder / names[0]


def summarise(records: Collection[tuple[Job, Record | None]], run: Run) -> dict[str, Any]:
    """The figures of the whole batch, as far as this folder shows it, and of this run."""
    kept = [record for _, record in records if record is not None]
    failures = [record for record in kept if record.status == FAILED]
    return {
        "jobs": len(records),
        "done": sum(record.status == DONE for record in kept),
        "failed": len(failures),
        "this_run": {
            "drawn": run.drawn,
            "failed": run.failed,
            "done_before": run.found,
            "pictures": run.pictures,
            "seconds": round(run.seconds, 3),
            "pictures_per_second": round(run.rate, 3),
            "workers": run.workers,
        },
        "failures": [
            {
                "line": record.line,
                "name": record.name,
                "cells": record.cells,
                "error": record.error,
                "worker": record.worker,
            }
            for record in failures
        ],
    }


def _figures(summary: dict[str, Any], title: str) -> str:
    run = summary["this_run"]
    rows = {
        "jobs": f"{summary['jobs']:,}",
        "done": f"{summary['done']:,}",
        "failed": f"{summary['failed']:,}",
        "not yet": f"{summary['jobs'] - summary['done'] - summary['failed']:,}",
        "last run": f"{run['pictures']:,} pictures in {_time(run['seconds'])} by {_workers(run['workers'])}: "
        f"{run['pictures_per_second']:.3g} pictures/s",
    }
    return f"<h1>{html.escape(title)}</h1>" + _table(rows.items())


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count != 1)}"


def _failures(failures: list[dict[str, Any]]) -> str:
    if not failures:
        return ""
    rows = [(f"line {item['line']}", f"{item['error']} — {_cells(item['cells'])}") for item in failures]
    return "<h2>Failures</h2>" + _table(rows)


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows)
    return f"<table>{''.join(cells)}</table>"


def _links(names: list[str], current: int) -> str:
    if len(names) == 1:
        return ""
    first = (f"jobs {i * A_PAGE + 1} to {(i + 1) * A_PAGE}" for i in range(len(names)))
    links = (text if i == current else f'<a href="{names[i]}">{text}</a>' for i, text in enumerate(first))
    return f"<nav>{' '.join(links)}</nav>"


def _sheet(records: Iterable[tuple[Job, Record | None]]) -> str:
    done = ((job, record) for job, record in records if record is not None and record.status == DONE)
    figures = (_figure(name, job) for job, record in done for name in record.files)
    return f'<div class="sheet">{"".join(figures)}</div>'


def _figure(name: str, job: Job) -> str:
    link, text = quote(name.replace(os.sep, "/")), html.escape(f"line {job.line}: {_cells(job.cells)}")
    picture = f'<a href="{link}"><img loading="lazy" src="{link}" alt="{text}"></a>'
    return f"<figure>{picture}<figcaption>{text}</figcaption></figure>"


def _cells(cells: dict[str, Any]) -> str:
    return ", ".join(str(value) if name == "prompt" else f"{name} {value}" for name, value in cells.items())


def _time(seconds: float) -> str:
    minutes, rest = divmod(math.floor(seconds + 0.5), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _page(title: str, body: str) -> str:
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>\n'
