"""How do nodes come to lie on the editor's canvas? `Graph` stacks them in titled columns that read left to right."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

WIDTH, GAP, TOP = 340, 54, 90  # of columns
TITLE, BELOW, ROW, WIDGET, EDGE = 30, 60, 20, 24, 20  # of nodes, as the editor draws them, and a little air
# Of nodes in Nodes 2.0, measured in 1.58: without title; PACK is the badge of a node that is not ComfyUI's own, FOLD the
# bar that folds rarely used inputs away.
ROW_2, WIDGET_2, MULTILINE_2, EDGE_2, PACK, FOLD = 20, 28, 68, 28, 24, 24
HEADER, FRAME = 80, 20  # of groups: from the frame to the first node's body, and around
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN")
MULTILINE = 84  # instead of WIDGET
CHARACTER, LINE = 8, 16  # of text in a node
PREVIEW = 250  # room for the picture that grows on a node while it samples; without, the editor makes the node longer
SCREEN, BARS = (1480, 820), (85, 110)  # pixels of a common window, without the editor's bars at the left and the top


@dataclass
class Node:
    """One node on the canvas; `node["image"]` is its output of that name, to be given as another node's input."""

    info: dict
    data: dict

    def __getitem__(self, output: str) -> tuple[dict, int]:
        return self.data, self.info["output_name"].index(output)


def is_widget(spec: list) -> bool:
    return (isinstance(spec[0], list) or spec[0] in WIDGETS) and not options_of(spec).get("forceInput")


def is_output(value: object) -> bool:
    """Whether an input is given another node's output, which a widget may be too, and no value."""
    return isinstance(value, tuple)


def options_of(spec: list) -> dict:
    return spec[1] if len(spec) > 1 else {}


def default_of(spec: list) -> object:
    """What a widget shows at first."""
    return options_of(spec).get("default", spec[0][0] if isinstance(spec[0], list) and spec[0] else None)


def is_folded(spec: list) -> bool:
    """Whether Nodes 2.0 shows an input only when asked."""
    return is_widget(spec) and bool(options_of(spec).get("advanced"))


@dataclass
class Graph:
    """A graph being laid out: `column` starts the next stack of nodes, `add` puts one below the last.

    A column is framed as a group with a title; `section` starts another group below it.
    """

    object_info: dict
    after_run: str = "randomize"  # what the editor does to seeds: "fixed" where pictures are compared
    nodes: list[dict] = field(default_factory=list)
    links: list[list] = field(default_factory=list)
    groups: list[dict] = field(default_factory=list)
    x: int = 0
    y: int = TOP
    width: int = WIDTH
    first: int = 0  # the open group's first node
    title: str = ""
    app: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by node title: inputs that app mode asks for
    opens_as_app: bool = False  # else as a graph, and app mode is one click away

    def column(self, title: str, width: int = WIDTH) -> None:
        """Close the column before and start the next, `width` wide."""
        self.section(title)
        self.x, self.y = (self.x + self.width + GAP if self.nodes else 0), TOP
        self.width = width

    def section(self, title: str) -> None:
        """Close the group before and start one with `title` below it."""
        self.close()
        self.first, self.title, self.y = len(self.nodes), title, self.y + HEADER + FRAME - BELOW

    def close(self) -> None:
        """Frame the open group's nodes."""
        if not self.title:
            return
        members = self.nodes[self.first :]
        top, bottom = members[0]["pos"][1] - HEADER, max(node["pos"][1] + node["size"][1] for node in members)
        box = [self.x - FRAME, top, self.width + 2 * FRAME, bottom + FRAME - top]
        self.groups.append({"title": self.title, "bounding": box, "color": "#3f789e", "font_size": 22, "flags": {}})
        self.title = ""

    def add(self, kind: str, /, title: str | None = None, **inputs) -> Node:
        info = self.object_info[kind]
        node = {"id": len(self.nodes) + 1, "type": kind, "pos": [self.x, self.y], "size": [self.width, 0], "flags": {}}
        node |= {"order": len(self.nodes), "mode": 0, "inputs": [], "outputs": []}
        node |= {"properties": {"Node name for S&R": kind}, "widgets_values": []}
        if title:
            node["title"] = title
        specs = {**info["input"].get("required", {}), **info["input"].get("optional", {})}
        unknown = set(inputs) - set(specs)
        if unknown:
            raise SystemExit(f"{kind} has no inputs {sorted(unknown)}")
        for name, spec in specs.items():
            self._add_input(node, name, spec, inputs, optional=name in info["input"].get("optional", {}))
        if any(is_folded(specs[name]) and value != default_of(specs[name]) for name, value in inputs.items()):
            node["showAdvanced"] = True  # what a graph sets is to be seen in it
        node["inputs"].sort(key=lambda slot: "widget" in slot)  # sockets first, as the editor saves them
        self._link(node, inputs)
        for name, kind_ in zip(info["output_name"], info["output"], strict=True):
            node["outputs"].append({"name": name, "type": kind_, "links": []})
        node["size"][1] = self._height(node, specs)
        self.nodes.append(node)
        self.y += node["size"][1] + TITLE + BELOW
        return Node(info, node)

    def _add_input(self, node: dict, name: str, spec: list, inputs: dict, *, optional: bool) -> None:
        kind = "COMBO" if isinstance(spec[0], list) else spec[0]
        slot = {"name": name, "type": kind, "link": None}
        if is_widget(spec):
            options = options_of(spec)
            node["inputs"].append({**slot, "widget": {"name": name}})
            value = inputs.get(name)
            node["widgets_values"].append(default_of(spec) if value is None or is_output(value) else value)
            if options.get("control_after_generate"):
                node["widgets_values"].append(self.after_run)
            if options.get("image_upload"):
                node["widgets_values"].append("image")
        else:
            node["inputs"].append({**slot, "shape": 7} if optional else slot)

    def _link(self, node: dict, inputs: dict) -> None:
        for target_slot, slot in enumerate(node["inputs"]):
            source = inputs.get(slot["name"])
            if not is_output(source):
                continue
            origin, origin_slot = source
            link = [len(self.links) + 1, origin["id"], origin_slot, node["id"], target_slot, slot["type"]]
            self.links.append(link)
            slot["link"] = link[0]
            origin["outputs"][origin_slot]["links"].append(link[0])

    def _height(self, node: dict, specs: dict) -> int:
        """Enough for both ways in which the editor draws a node, and for the picture that it shows."""
        rows = max(sum("widget" not in slot for slot in node["inputs"]), len(node["outputs"]))
        shows = node["type"] in ("SaveImage", "PreviewImage", "LoadImage")
        picture = self.width if shows else PREVIEW if "steps" in specs else 0
        lines = [len(value) // (self.width // CHARACTER) for value in node["widgets_values"] if isinstance(value, str)]
        long = [count for count in lines if count > 1]  # read without scrolling; the editor gives them all one height
        picture += LINE * max((count - 1 for count in long), default=0) * len(long)
        return picture + max(self._on_canvas(node, specs, rows), self._in_nodes_2(node, specs, rows))

    def _on_canvas(self, node: dict, specs: dict, rows: int) -> int:
        multiline = sum(bool(options_of(spec).get("multiline")) for spec in specs.values())
        height = ROW * rows + WIDGET * len(node["widgets_values"]) + EDGE
        return height + multiline * (MULTILINE - WIDGET)

    def _in_nodes_2(self, node: dict, specs: dict, rows: int) -> int:
        """A seed's control is a part of its widget there."""
        widgets = [spec for spec in specs.values() if is_widget(spec)]
        folded = [spec for spec in widgets if is_folded(spec)]
        shown = len(widgets) if "showAdvanced" in node else len(widgets) - len(folded)
        multiline = sum(bool(options_of(spec).get("multiline")) for spec in widgets)
        height = ROW_2 * rows + WIDGET_2 * shown + multiline * (MULTILINE_2 - WIDGET_2) + EDGE_2
        return height + PACK * node["type"].startswith("Imagen") + FOLD * bool(folded)

    def note(self, text: str) -> None:
        """A yellow note with `text`, below the last node."""
        lines = sum(1 + len(line) // (self.width // 7) for line in text.split("\n"))
        size = [self.width, 54 + 20 * lines]
        node = {"id": len(self.nodes) + 1, "type": "Note", "pos": [self.x, self.y], "size": size, "flags": {}}
        node |= {"order": len(self.nodes), "mode": 0, "inputs": [], "outputs": [], "title": "What to try"}
        node |= {"properties": {"text": ""}, "widgets_values": [text], "color": "#432", "bgcolor": "#653"}
        self.nodes.append(node)
        self.y += size[1] + TITLE + BELOW

    def _linear(self) -> dict:
        """What app mode shows: the inputs asked for, and every picture that is saved."""
        ids = {node.get("title") or node["type"]: node["id"] for node in self.nodes}
        asked = [[ids[title], name] for title, names in self.app.items() for name in names]
        return {"inputs": asked, "outputs": [node["id"] for node in self.nodes if node["type"] == "SaveImage"]}

    def view(self) -> dict:
        """The part of the canvas that opens: all of it, unless the editor would leave the text out as too small."""
        left, top = -FRAME, TOP - HEADER
        right, bottom = (max(group["bounding"][i] + group["bounding"][i + 2] for group in self.groups) for i in (0, 1))
        scale = round(min(0.7, max(0.58, min(SCREEN[0] / (right - left), SCREEN[1] / (bottom - top)))), 2)
        return {"scale": scale, "offset": [round(BARS[0] / scale - left), round(BARS[1] / scale - top)]}

    def to_json(self, name: str, description: str) -> dict:
        self.close()
        extra = {"description": description, "ds": self.view()} | ({"linearData": self._linear()} if self.app else {})
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagen-nodes/{name}")),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": self.groups,
            "config": {},
            "extra": extra | ({"linearMode": True} if self.opens_as_app else {}),
            "version": 0.4,
        }


def save(graph: Graph, image: tuple[dict, int], name: str) -> None:
    """A last column that saves the picture under imagen/<name>."""
    graph.column("Save", width=470)
    graph.add("SaveImage", images=image, filename_prefix=f"imagen/{name}")
