"""How do nodes come to lie on the editor's canvas? `Graph` stacks them in titled columns that read left to right."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

WIDTH, GAP, TOP = 340, 54, 90  # of columns
TITLE, BELOW, ROW, WIDGET, EDGE = 30, 24, 20, 24, 20  # of nodes, as the editor draws them, and a little air
HEADER, FRAME = 80, 20  # of groups: from the frame to the first node's body, and around
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN")
MULTILINE = 84  # instead of WIDGET
PREVIEW = 240  # room for the picture that grows on a node while it samples; without, the editor makes the node longer
SCREEN, BARS = (1480, 820), (85, 110)  # pixels of a common window, without the editor's bars at the left and the top


@dataclass
class Node:
    """One node on the canvas; `node["image"]` is its output of that name, to be given as another node's input."""

    info: dict
    data: dict

    def __getitem__(self, output: str) -> tuple[dict, int]:
        return self.data, self.info["output_name"].index(output)


def is_widget(spec: list) -> bool:
    return (isinstance(spec[0], list) or spec[0] in WIDGETS) and not (len(spec) > 1 and spec[1].get("forceInput"))


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

    def add(self, kind: str, title: str | None = None, **inputs) -> Node:
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
            options = spec[1] if len(spec) > 1 else {}
            fallback = options.get("default", spec[0][0] if kind == "COMBO" and spec[0] else None)
            node["inputs"].append({**slot, "widget": {"name": name}})
            node["widgets_values"].append(inputs.get(name, fallback))
            if options.get("control_after_generate"):
                node["widgets_values"].append(self.after_run)
            if options.get("image_upload"):
                node["widgets_values"].append("image")
        else:
            node["inputs"].append({**slot, "shape": 7} if optional else slot)

    def _link(self, node: dict, inputs: dict) -> None:
        for target_slot, slot in enumerate(node["inputs"]):
            source = inputs.get(slot["name"])
            if "widget" in slot or source is None:
                continue
            origin, origin_slot = source
            link = [len(self.links) + 1, origin["id"], origin_slot, node["id"], target_slot, slot["type"]]
            self.links.append(link)
            slot["link"] = link[0]
            origin["outputs"][origin_slot]["links"].append(link[0])

    def _height(self, node: dict, specs: dict) -> int:
        """As the editor would: rows of sockets, then widgets; and room for the picture that a node shows."""
        sockets = sum("widget" not in slot for slot in node["inputs"])
        multiline = sum(len(spec) > 1 and bool(spec[1].get("multiline")) for spec in specs.values())
        height = ROW * max(sockets, len(node["outputs"])) + WIDGET * len(node["widgets_values"]) + EDGE
        height += multiline * (MULTILINE - WIDGET)
        if node["type"] in ("SaveImage", "PreviewImage", "LoadImage"):
            return height + self.width
        return height + PREVIEW if "steps" in specs else height

    def note(self, text: str) -> None:
        """A yellow note with `text`, below the last node."""
        lines = sum(1 + len(line) // (self.width // 7) for line in text.split("\n"))
        size = [self.width, 30 + 20 * lines]
        node = {"id": len(self.nodes) + 1, "type": "Note", "pos": [self.x, self.y], "size": size, "flags": {}}
        node |= {"order": len(self.nodes), "mode": 0, "inputs": [], "outputs": [], "title": "What to try"}
        node |= {"properties": {"text": ""}, "widgets_values": [text], "color": "#432", "bgcolor": "#653"}
        self.nodes.append(node)
        self.y += size[1] + TITLE + BELOW

    def view(self) -> dict:
        """The part of the canvas that opens: all of it, unless the editor would leave the text out as too small."""
        left, top = -FRAME, TOP - HEADER
        right, bottom = (max(group["bounding"][i] + group["bounding"][i + 2] for group in self.groups) for i in (0, 1))
        scale = round(min(0.7, max(0.58, min(SCREEN[0] / (right - left), SCREEN[1] / (bottom - top)))), 2)
        return {"scale": scale, "offset": [round(BARS[0] / scale - left), round(BARS[1] / scale - top)]}

    def to_json(self, name: str, description: str) -> dict:
        self.close()
        return {
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"imagen-nodes/{name}")),
            "revision": 0,
            "last_node_id": len(self.nodes),
            "last_link_id": len(self.links),
            "nodes": self.nodes,
            "links": self.links,
            "groups": self.groups,
            "config": {},
            "extra": {"description": description, "ds": self.view()},
            "version": 0.4,
        }


def save(graph: Graph, image: tuple[dict, int], name: str) -> None:
    """A last column that saves the picture under imagen/<name>."""
    graph.column("Save", width=470)
    graph.add("SaveImage", images=image, filename_prefix=f"imagen/{name}")
