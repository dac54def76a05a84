"""Which of the paper's claims hold here? `python -m benchmarks.claims NAME` measures one; `tables` writes docs/claims.md."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from . import CLAIMS
from ._base import OUT, run
from ._page import PAGE, in_page


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    commands = parser.add_subparsers(dest="claim", required=True)
    for name, kind in CLAIMS.items():
        command = commands.add_parser(
            name, help=kind.about, description=f"{kind.about}: {sys.modules[kind.__module__].__doc__}"
        )
        command.add_argument(
            "--out", type=Path, default=OUT, help="folder for NAME.json and NAME.svg (default: docs/claims)"
        )
        command.add_argument("--again", action="store_true", help="measure anew what was measured")
        kind().add_options(command)
    commands.add_parser("tables", help="write the measured tables into docs/claims.md")
    options = parser.parse_args(arguments)
    if options.claim == "tables":
        PAGE.write_text(in_page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        return 0
    torch.set_num_threads(1)
    claim = CLAIMS[options.claim]()
    try:
        print(claim.table(run(claim, options)))
    except (ValueError, FileNotFoundError) as error:
        print(f"{claim.name}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
