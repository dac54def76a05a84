"""Which graphs ship, and how they lie on the editor's canvas: writes workflows/*.json and their API twins.

Run `make workflows` after a node's inputs change. A test holds the written files against this file.
"""

from __future__ import annotations

import json
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from imagen_host.registry import load_registry  # noqa: E402
from imagen_host.workflow import workflow_to_prompt  # noqa: E402

WIDTH, GAP, ROW, TITLE, TOP = 320, 60, 26, 40, 90
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN")
MULTILINE = 110
PICTURE = 300  # room for the picture that a preview or save node shows


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
    """A graph being laid out: `column` starts the next stack of nodes, `add` puts one below the last."""

    object_info: dict
    after_run: str = "randomize"  # what the editor does to seeds: "fixed" where pictures are compared
    nodes: list[dict] = field(default_factory=list)
    links: list[list] = field(default_factory=list)
    groups: list[dict] = field(default_factory=list)
    x: int = 0
    y: int = TOP
    first: int = 0
    title: str = ""

    def column(self, title: str) -> None:
        """Close the column before and start the next, framed as a group with `title`."""
        self.close()
        self.first, self.title, self.y = len(self.nodes), title, TOP

    def close(self) -> None:
        if not self.title:
            return
        members = self.nodes[self.first :]
        bottom = max(node["pos"][1] + node["size"][1] for node in members)
        box = [self.x - 20, TOP - 80, WIDTH + 40, bottom - TOP + 100]
        self.groups.append({"title": self.title, "bounding": box, "color": "#3f789e", "font_size": 22, "flags": {}})
        self.x, self.title = self.x + WIDTH + GAP, ""

    def add(self, kind: str, title: str | None = None, **inputs) -> Node:
        info = self.object_info[kind]
        node = {"id": len(self.nodes) + 1, "type": kind, "pos": [self.x, self.y], "size": [WIDTH, 0], "flags": {}}
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
        self.y += node["size"][1] + TITLE + 30
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
        sockets = sum("widget" not in slot for slot in node["inputs"])
        multiline = sum(len(spec) > 1 and bool(spec[1].get("multiline")) for spec in specs.values())
        height = ROW * (max(sockets, len(node["outputs"])) + len(node["widgets_values"])) + multiline * MULTILINE + 16
        shows_picture = node["type"] in ("SaveImage", "PreviewImage", "LoadImage")
        return height + PICTURE if shows_picture else height

    def note(self, text: str) -> None:
        lines = sum(1 + len(line) // 44 for line in text.split("\n"))
        size = [WIDTH, 30 + 20 * lines]
        node = {"id": len(self.nodes) + 1, "type": "Note", "pos": [self.x, self.y], "size": size, "flags": {}}
        node |= {"order": len(self.nodes), "mode": 0, "inputs": [], "outputs": [], "title": "What to try"}
        node |= {"properties": {"text": ""}, "widgets_values": [text], "color": "#432", "bgcolor": "#653"}
        self.nodes.append(node)
        self.y += size[1] + TITLE + 30

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
            "extra": {"description": description, "ds": {"scale": 0.65, "offset": [60, 60]}},
            "version": 0.4,
        }


DEFAULT_PROMPT = "a red sphere to the left of a blue cube"


def read_prompt(graph: Graph, text: str = DEFAULT_PROMPT) -> tuple[dict, int]:
    """The first column: text encoder and prompt. Returns the encoded text."""
    graph.column("Read the prompt")
    encoder = graph.add("ImagenLoadTextEncoder", "Load text encoder")
    return graph.add("ImagenTextEncode", "Prompt", text_encoder=encoder["text_encoder"], text=text)["text"]


def load(graph: Graph, stage: str) -> tuple[dict, int]:
    """The loader of one stage of imagen-mini, at the head of the column that uses it."""
    return graph.add("ImagenLoadUNet", f"Load {stage}", checkpoint=f"imagen-mini/{stage}.safetensors")["unet"]


def draw(graph: Graph, text: tuple[dict, int], title: str = "Base 64x64", **settings) -> tuple[dict, int]:
    """A column that draws the small picture and shows it."""
    graph.column("Draw 64x64")
    drawn = graph.add("ImagenBaseSample64", title, unet=load(graph, "base64"), text=text, **settings)["image"]
    graph.add("PreviewImage", "64x64", images=drawn)
    return drawn


def enlarge(graph: Graph, image: tuple[dict, int], stage: str, side: int, **settings) -> tuple[dict, int]:
    """A column that enlarges a picture four times."""
    graph.column(f"Enlarge to {side}x{side}")
    unet = load(graph, stage)
    return graph.add("ImagenSuperRes", f"Super resolution {side}", unet=unet, image=image, **settings)["image"]


def save(graph: Graph, image: tuple[dict, int], name: str) -> None:
    graph.column("Save")
    graph.add("SaveImage", images=image, filename_prefix=f"imagen/{name}")


def text_to_image_64(graph: Graph) -> None:
    """Four quick drafts from a prompt."""
    text = read_prompt(graph)
    graph.note(
        "Write your own sentence and run.\nguidance_scale 1 leaves the null prompt out; higher follows the text more."
    )
    graph.column("Draw 64x64")
    drawn = graph.add("ImagenBaseSample64", unet=load(graph, "base64"), text=text, batch_size=4)
    save(graph, drawn["image"], "text_to_image_64")


def text_to_image_1024(graph: Graph) -> None:
    """The whole cascade: a prompt becomes a picture of 1024x1024."""
    text = read_prompt(graph)
    threshold = graph.add("ImagenThreshold")
    graph.note(
        "Write your own sentence and run.\nEach stage shows its picture as it grows.\n"
        "aug_level above 0 lets a stage invent more than the smaller picture shows."
    )
    drawn = draw(graph, text, threshold=threshold["threshold"])
    larger = enlarge(graph, drawn, "sr256", 256, text=text, aug_level=0.03)
    graph.add("PreviewImage", "256x256", images=larger)
    save(graph, enlarge(graph, larger, "sr1024", 1024, text=text, aug_level=0.02), "text_to_image_1024")


def super_resolve_photo(graph: Graph) -> None:
    """Any picture, shrunk to 64 pixels and brought to 1024 by both super-resolution stages."""
    graph.column("Your picture")
    photo = graph.add("LoadImage", image="example.png")
    small = graph.add("ImagenResize", "Shrink to 64", image=photo["IMAGE"])
    graph.note("Pictures of 64 to 256 pixels: leave the shrinking out, and start at the second enlargement.")
    larger = enlarge(graph, small["image"], "sr256", 256, aug_level=0.03)
    graph.add("PreviewImage", "256", images=larger)
    save(graph, enlarge(graph, larger, "sr1024", 1024, aug_level=0.02), "super_resolve_photo")


def thresholding_compared(graph: Graph) -> None:
    """No, static and dynamic thresholding side by side at a high guidance scale."""
    graph.after_run = "fixed"
    text = read_prompt(graph)
    methods = ("none", "static", "dynamic")
    thresholds = {method: graph.add("ImagenThreshold", f"Threshold: {method}", method=method) for method in methods}
    graph.column("Draw 64x64 at guidance 15")
    settings = {"unet": load(graph, "base64"), "text": text, "guidance_scale": 15.0, "seed": 7}
    drawn = {
        method: graph.add("ImagenBaseSample64", f"Base 64x64, {method}", threshold=threshold["threshold"], **settings)
        for method, threshold in thresholds.items()
    }
    graph.column("Enlarge to 256x256")
    unet = load(graph, "sr256")
    larger = {
        method: graph.add("ImagenSuperRes", f"256x256, {method}", unet=unet, image=image["image"])
        for method, image in drawn.items()
    }
    graph.column("Compare")
    for method, image in larger.items():
        graph.add("SaveImage", method, images=image["image"], filename_prefix=f"imagen/threshold_{method}")


def aug_level_sweep(graph: Graph) -> None:
    """One small picture enlarged at four levels of noise conditioning augmentation."""
    graph.after_run = "fixed"
    drawn = draw(graph, read_prompt(graph, "a large green shiny star on a purple background"))
    graph.column("The same picture at four levels")
    unet = load(graph, "sr256")
    levels = {
        level: graph.add("ImagenSuperRes", f"Super resolution, {level}", unet=unet, image=drawn, aug_level=level)
        for level in (0.0, 0.05, 0.1, 0.25)
    }
    graph.column("Compare")
    for level, image in levels.items():
        graph.add("SaveImage", f"aug_level {level}", images=image["image"], filename_prefix=f"imagen/aug_level_{level}")


GRAPHS = (text_to_image_64, text_to_image_1024, super_resolve_photo, thresholding_compared, aug_level_sweep)


def build() -> dict[str, dict]:
    """Every file's path under workflows/ and what belongs in it."""
    object_info = load_registry().object_info()
    files = {}
    for lay_out in GRAPHS:
        graph = Graph(object_info)
        lay_out(graph)
        ui = graph.to_json(lay_out.__name__, lay_out.__doc__)
        files[f"{lay_out.__name__}.json"] = ui
        files[f"api/{lay_out.__name__}.json"] = workflow_to_prompt(ui, object_info)
    return files


if __name__ == "__main__":
    (HERE / "api").mkdir(exist_ok=True)
    for name, content in build().items():
        (HERE / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        print(name)
