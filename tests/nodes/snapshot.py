"""What must stay as it is so that no saved graph breaks? The record of every node's id, inputs, outputs and types.

A saved graph names nodes by id, sockets by name and slot, and widget values by position alone. So what is recorded may
never be removed, renamed, retyped or moved; new inputs are optional and come last. A break on purpose needs an entry under
"migrations" in the record: the recorded thing ("ImagenThreshold", "ImagenThreshold.percentile") and what now serves
graphs that hold it.
"""

import json
import re
import sys
from pathlib import Path

from pack import PACK, ROOT

RECORD = Path(__file__).parent / "node_snapshot.json"
SECTIONS = ("required", "optional")


def nodes():
    """Every node class by id, those that only ComfyUI runs included."""
    return sys.modules[f"{PACK.__name__}.nodes"].ALL_NODES


def describe(node):
    """{"inputs": [...], "outputs": [...]} in order; of a list of files there is no telling what is in it."""
    declared = node.INPUT_TYPES()
    inputs = [
        {"name": name, "required": section == "required", **_type(spec[0])}
        for section in SECTIONS
        for name, spec in declared.get(section, {}).items()
    ]
    outputs = [{"name": name, "type": kind} for name, kind in zip(node.RETURN_NAMES, node.RETURN_TYPES, strict=True)]
    return {"inputs": inputs, "outputs": outputs}


def _type(kind):
    if not isinstance(kind, list):
        return {"type": kind}
    files = any("/" in str(option) or "." in str(option) for option in kind)
    return {"type": "COMBO"} if files or not kind else {"type": "COMBO", "options": kind}


def current():
    return {name: describe(node) for name, node in sorted(nodes().items())}


def read():
    return json.loads(RECORD.read_text(encoding="utf-8"))


def breaks(record, now):
    """One line for each recorded thing that a saved graph would miss."""
    found = []
    for name, kept in record["nodes"].items():
        if name not in now:
            found.append((name, f"the node {name} is gone"))
            continue
        for part in ("inputs", "outputs"):
            for slot, each in enumerate(kept[part]):
                here = now[name][part][slot] if slot < len(now[name][part]) else {"name": "nothing", "type": "nothing"}
                found += [(f"{name}.{each['name']}", f"{name}: {line}") for line in _changes(part, slot, each, here)]
        new = now[name]["inputs"][len(kept["inputs"]) :]
        found += [(f"{name}.{each['name']}", f"{name}: {_is_required(each)}") for each in new if each["required"]]
    return [line for thing, line in found if thing not in record["migrations"]]


def _is_required(new):
    return f"the new input {new['name']} is required, and old graphs do not have it: make it optional"


def _changes(part, slot, kept, here):
    where = f"{part[:-1]} {slot} was {kept['name']} ({kept['type']})"
    if (kept["name"], kept["type"]) != (here["name"], here["type"]):
        yield f"{where}, and is {here['name']} ({here['type']})"
        return
    if here.get("required") and not kept["required"]:
        yield f"{where}, optional, and is required"
    if gone := [option for option in kept.get("options", []) if option not in here.get("options", [])]:
        yield f"{where}, and no longer offers {', '.join(map(str, gone))}"


def grown(record, now):
    """The record with what is new at the end, marked with the version that brings it."""
    version = re.search(r'^version = "([^"]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[1]
    kept_nodes = {name: _grown(kept, now[name], version) for name, kept in record["nodes"].items() if name in now}
    new_nodes = {
        name: {"since": version, **_grown({"inputs": [], "outputs": []}, described, version)}
        for name, described in now.items()
        if name not in record["nodes"]
    }
    return {"migrations": record["migrations"], "nodes": {**record["nodes"], **kept_nodes, **new_nodes}}


def _grown(kept, described, version):
    result = dict(kept)
    for part in ("inputs", "outputs"):
        old = [
            {**each, **({"options": here["options"]} if "options" in here else {})}
            for each, here in zip(kept[part], described[part], strict=False)
        ]
        result[part] = old + [{**each, "since": version} for each in described[part][len(old) :]]
    return result
