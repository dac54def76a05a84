"""Short ways to write graphs in tests: prompts of the API, and graphs as the editor saves them."""

from pathlib import Path

from imagen_host.validation import validate

PACK = Path(__file__).parent / "tiny_pack"


def entry(kind, /, title=None, **inputs):
    """One node of an API prompt."""
    return {"class_type": kind, "inputs": inputs, **({"_meta": {"title": title}} if title else {})}


def run(engine, prompt, **more):
    """Check a prompt, which must be right, and run it."""
    checked = validate(prompt, engine.registry)
    assert checked.error is None and not checked.node_errors, (checked.error, checked.node_errors)
    return engine.run(prompt, checked.outputs, prompt_id="p", **more)


def shown(result, node="show"):
    return result.ui[node]["values"]


class Ui:
    """A graph being built as the editor would save it; nodes get ids 1, 2, ... and links 1, 2, ..."""

    def __init__(self, object_info):
        self.info, self.nodes, self.links = object_info, [], []

    def node(self, kind, values=(), **settings):
        """A node with all its input slots free; returns it, to be linked with `link`."""
        data = {"id": len(self.nodes) + 1, "type": kind, "mode": 0, "inputs": [], "outputs": []}
        data["order"] = len(self.nodes)
        info = self.info.get(kind)
        if info:
            specs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
            for name, (type_, *options) in specs.items():
                type_ = "COMBO" if isinstance(type_, list) else type_
                widget = type_ in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
                widget = widget and not (options and options[0].get("forceInput"))
                slot = {"name": name, "type": type_, "link": None}
                data["inputs"].append({**slot, "widget": {"name": name}} if widget else slot)
            data["outputs"] = [{"name": type_, "type": type_, "links": []} for type_ in info["output"]]
        if values is not None:
            data["widgets_values"] = list(values) if isinstance(values, (tuple, list)) else values
        self.nodes.append({**data, **settings})
        return self.nodes[-1]

    def reroute(self, kind="*"):
        slot = {"name": "", "type": "*", "link": None}
        return self.node("Reroute", None, inputs=[slot], outputs=[{"name": "", "type": kind, "links": []}])

    def primitive(self, value, kind="INT"):
        return self.node("PrimitiveNode", [value, "fixed"], outputs=[{"name": kind, "type": kind, "links": []}])

    def link(self, origin, target, name, slot=0, kind=None):
        """Join output `slot` of a node to the named input of another."""
        index = next(i for i, item in enumerate(target["inputs"]) if item["name"] == name)
        number = len(self.links) + 1
        target["inputs"][index]["link"] = number
        origin["outputs"][slot].setdefault("links", []).append(number)
        kind = kind or target["inputs"][index]["type"]
        self.links.append([number, origin["id"], slot, target["id"], index, kind])

    def json(self, **more):
        return {"nodes": self.nodes, "links": self.links, "version": 0.4, "extra": {}, **more}


BOX = "aaaa-bbbb"
ENDS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def definition(node, inputs, outputs=("INT",), key=BOX, first=100):
    """A subgraph around one node: each of `inputs` is the name of a slot of it, which an input of that name feeds.

    Links inside have the numbers `first`, `first` + 1, ...
    """
    names = [slot["name"] for slot in node["inputs"]]
    ends = [(-10, index, node["id"], names.index(name)) for index, name in enumerate(inputs)]
    ends += [(node["id"], index, -20, index) for index in range(len(outputs))]
    links = [dict(zip(ENDS, (first + index, *end, "INT"), strict=True)) for index, end in enumerate(ends)]
    for link in links[: len(inputs)]:
        node["inputs"][link["target_slot"]]["link"] = link["id"]
    borders = [
        {"id": f"{key}-{index}", "name": name, "type": "INT", "linkIds": [first + index]}
        for index, name in enumerate([*inputs, *outputs])
    ]
    return {
        "id": key,
        "name": "Box",
        "nodes": [node],
        "links": links,
        "inputs": borders[: len(inputs)],
        "outputs": borders[len(inputs) :],
        "inputNode": {"id": -10},
        "outputNode": {"id": -20},
    }


def instance(ui, inputs=(), values=None, proxies=None, key=BOX, **settings):
    """A node that stands for a subgraph; `proxies` are the (node, widget) pairs that an older editor lists."""
    slots = [{"name": name, "type": "INT", "link": None} for name in inputs]
    properties = {} if proxies is None else {"proxyWidgets": [list(pair) for pair in proxies]}
    outputs = [{"name": "INT", "type": "INT", "links": []}]
    return ui.node(key, values, inputs=slots, outputs=outputs, properties=properties, **settings)
