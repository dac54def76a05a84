"""What does `imagen evaluate fewer` offer: fewer calls, plain and distilled, in one table?"""

from __future__ import annotations

import argparse
import json

from .options import default_models_dir, device_there, file_there, folder, folder_there, positive


def add_fewer_command(commands: argparse._SubParsersAction) -> None:
    """Add it to the commands of `evaluate`."""
    command = commands.add_parser(
        "fewer", help="what do fewer calls cost? plainly fewer steps, and distilled, in one table"
    )
    add = command.add_argument
    add("--base", type=file_there, required=True, help="the base's checkpoint")
    add("--loras", type=file_there, nargs="*", default=[], help="what `imagen train distill` left, any number")
    add(
        "--models-dir",
        type=folder_there,
        default=default_models_dir(),
        help="folder with things_text_encoder/ and the classifier",
    )
    add("--count", type=positive, default=256, help="captions (default: %(default)s)")
    add("--tier", type=int, default=1, help="things up to this tier of the list (default: %(default)s)")
    add("--pictures", type=folder, help="write a PNG with a row of pictures for each way")
    add("--device", type=device_there, default="cpu", help="cpu, cuda, ... (default: %(default)s)")
    add("--threads", type=positive, default=1, help="CPU threads (default: %(default)s)")
    add("--json", action="store_true", help="print the figures on one line instead of as a table")
    command.set_defaults(handler=_fewer)


def _fewer(args: argparse.Namespace) -> int:
    import torch

    from .evaluate_fewer import as_table, evaluate_fewer

    torch.set_num_threads(args.threads)
    given = {"count": args.count, "tier": args.tier, "device": args.device, "pictures_out": args.pictures}
    rows = evaluate_fewer(args.base, args.loras, args.models_dir, **given)
    print(json.dumps(rows) if args.json else as_table(rows))
    return 0
