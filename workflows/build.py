"""Which graphs ship: writes workflows/*.json and their API twins from the GRAPHS of every graphs_*.py beside this file,
and ../subgraphs/*.json from the BLUEPRINTS of blueprints_mini.py.

A graph is a function that lays nodes on a `Graph`; its name is the file's, its docstring the description.
Run `make workflows` after a node's inputs change. A test holds the written files against this file.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import _comfyui_nodes  # noqa: E402
from _blueprint import wrap  # noqa: E402
from _layout import Graph  # noqa: E402
from blueprints_mini import BLUEPRINTS  # noqa: E402

from imagen_host.graphs.workflow import workflow_to_prompt  # noqa: E402
from imagen_host.registry import Registry, load_pack, load_registry, pack_folder  # noqa: E402
from imagen_host.whole_files import write  # noqa: E402


def graphs() -> list[Callable[[Graph], None]]:
    """The graphs of every graphs_*.py, in the order of the files' names."""
    return [graph for path in sorted(HERE.glob("graphs_*.py")) for graph in importlib.import_module(path.stem).GRAPHS]


def object_info() -> dict[str, dict]:
    """What both hosts know: the embedded host's nodes, ours that only ComfyUI runs, and the few we use of its own."""
    ours = importlib.import_module(".nodes", load_pack(pack_folder()).__name__).ALL_NODES
    names = {name: node.DISPLAY_NAME for name, node in ours.items()}
    own = Registry(classes=ours, display_names=names).object_info()
    return _comfyui_nodes.object_info() | own | load_registry().object_info()


def build() -> dict[str, dict]:
    """Every file's path under workflows/ and what belongs in it."""
    known = object_info()
    files = {}
    for lay_out in graphs():
        graph = Graph(known)
        lay_out(graph)
        ui = graph.to_json(lay_out.__name__, lay_out.__doc__)
        files[f"{lay_out.__name__}.json"] = ui
        files[f"api/{lay_out.__name__}.json"] = workflow_to_prompt(ui, known)
    return files


def build_blueprints() -> dict[str, dict]:
    """Every file's name in subgraphs/ and what belongs in it."""
    known = object_info()
    files = {}
    for name, (title, lay_out) in BLUEPRINTS.items():
        graph = Graph(known)
        files[f"{name}.json"] = wrap(graph, lay_out(graph), name, title, lay_out.__doc__)
    return files


if __name__ == "__main__":
    for folder, files in ((HERE, build()), (HERE.parent / "subgraphs", build_blueprints())):
        for name, content in files.items():
            path = folder / name
            write(path, (json.dumps(content, indent=2) + "\n").encode())
            print(path.relative_to(HERE.parent))
