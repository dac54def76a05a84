"""Records new nodes, inputs and options in node_snapshot.json (`make snapshot`); refuses while a recorded one is missing."""

import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

import snapshot  # noqa: E402

from imagen_core.whole_files import write  # noqa: E402


def main() -> int:
    record = snapshot.read() if snapshot.RECORD.exists() else {"migrations": {}, "nodes": {}}
    now = snapshot.current()
    if broken := snapshot.breaks(record, now):
        print("saved graphs would break:", *broken, sep="\n  ", file=sys.stderr)
        return 1
    write(snapshot.RECORD, (json.dumps(snapshot.grown(record, now), indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
