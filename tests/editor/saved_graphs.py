"""Graphs as people save them: a shipped one with one thing changed, for the editor and for us to read."""

import copy
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = json.loads((ROOT / "workflows" / "text_to_image_64.json").read_text(encoding="utf-8"))
BOX, INNER = "11111111-2222-4333-8444-555555555555", "22222222-2222-4333-8444-555555555555"
CASES = {}


def case(function):
    """Register a function that gives a graph, or several by name."""
    made = function()
    several = "nodes" not in made
    CASES.update(
        {f"{function.__name__}: {name}": graph for name, graph in made.items()}
        if several
        else {function.__name__: made}
    )
    return function


class Saved:
    """A copy of the shipped graph; nodes by class, slots by name."""

    def __init__(self):
        self.graph = copy.deepcopy(SHIPPED)
        self.loader, self.prompt, self.unet, self.draw, self.save = (
            next(node for node in self.graph["nodes"] if node["type"] == kind)
            for kind in (
                "ImagenLoadTextEncoder",
                "ImagenTextEncode",
                "ImagenLoadUNet",
                "ImagenBaseSample64",
                "SaveImage",
            )
        )
        self.links = self.graph["links"]

    def add(self, number, kind, values=None, inputs=(), outputs=(), **more):
        place = {"pos": [0, 0], "size": [200, 100], "flags": {}, "order": 0, "mode": 0, "properties": {}}
        slots = [{"name": name, "type": type_, "link": None} for name, type_ in inputs]
        node = {"id": number, "type": kind, **place, "inputs": slots, **more}
        node["outputs"] = [{"name": name, "type": type_, "links": []} for name, type_ in outputs]
        self.graph["nodes"].append({**node, "widgets_values": values} if values is not None else node)
        return self.graph["nodes"][-1]

    def link(self, number, origin, target, name, slot=0):
        index = slot_of(target, name)
        target["inputs"][index]["link"] = number
        if "outputs" in origin:
            origin["outputs"][slot]["links"] = [*(origin["outputs"][slot]["links"] or []), number]
        self.links[:] = [link for link in self.links if link[3:5] != [target["id"], index]]
        self.links.append([number, origin["id"], slot, target["id"], index, target["inputs"][index]["type"]])

    def image_link(self):
        return next(link for link in self.links if link[3] == self.save["id"])

    def primitive(self, value, target, name, kind="INT", mode=0, **more):
        node = self.add(60, "PrimitiveNode", [value, "fixed"], outputs=[(kind, kind)], mode=mode, **more)
        node["outputs"][0]["widget"] = {"name": name}
        self.link(61, node, target, name)
        return self.graph

    def box(self, promoted=(), values=None, proxies=None):
        """Put the drawing node into a subgraph that feeds its unet and text, and the widgets in `promoted`."""
        draw, names = self.draw, ["unet", "text", *promoted]
        self.graph["nodes"].remove(draw)
        host = self.add(50, BOX, values, [(name, kind_of(draw, name)) for name in names], [("image", "IMAGE")])
        self.links[:] = [link for link in self.links if draw["id"] not in (link[1], link[3])]
        self.link(51, self.unet, host, "unet")
        self.link(52, self.prompt, host, "text")
        self.link(53, host, self.save, "images")
        if proxies is not None:
            host["properties"]["proxyWidgets"] = [list(pair) for pair in proxies]
        self.graph["definitions"] = {"subgraphs": [subgraph(draw, names, BOX, 100)]}
        return host

    def definition(self, index=0):
        return self.graph["definitions"]["subgraphs"][index]


def slot_of(node, name):
    return next(index for index, slot in enumerate(node["inputs"]) if slot["name"] == name)


def kind_of(node, name):
    return node["inputs"][slot_of(node, name)]["type"]


def subgraph(node, names, key, first):
    """A definition around one node, whose inputs `names` and only output go to the border."""
    ends = [(first + i, -10, i, node["id"], slot_of(node, name)) for i, name in enumerate(names)]
    links = [
        {
            "id": number,
            "origin_id": origin,
            "origin_slot": slot,
            "target_id": target,
            "target_slot": place,
            "type": kind_of(node, name),
        }
        for (number, origin, slot, target, place), name in zip(ends, names, strict=True)
    ]
    for slot in node["inputs"]:
        slot["link"] = None
    for link in links:
        node["inputs"][link["target_slot"]]["link"] = link["id"]
    out = {
        "id": first + 90,
        "origin_id": node["id"],
        "origin_slot": 0,
        "target_id": -20,
        "target_slot": 0,
        "type": "IMAGE",
    }
    node["outputs"][0]["links"] = [first + 90]
    border = lambda name, kind, number, i: {"id": f"00000000-0000-4000-8000-{first + i:012}", "name": name, "type": kind,
                                            "linkIds": [number], "pos": [0, 0]}  # fmt: skip
    sides = {"bounding": [0, 0, 100, 100]}
    return {
        "id": key, "version": 1, "name": "Draw", "revision": 0, "config": {}, "widgets": [], "groups": [], "extra": {},
        "state": {"lastGroupId": 0, "lastNodeId": 0, "lastLinkId": 0, "lastRerouteId": 0},
        "inputNode": {"id": -10, **sides}, "outputNode": {"id": -20, **sides}, "nodes": [node], "links": [*links, out],
        "inputs": [border(name, kind_of(node, name), first + i, i) for i, name in enumerate(names)],
        "outputs": [border("image", "IMAGE", first + 90, 90)],
    }  # fmt: skip


@case
def tokens():
    texts = ["%date:yyyy-MM-dd%/run_%Imagen Base Sample 64.seed%_%ImagenBaseSample64.steps%",
             "%Prompt.text%", "%Load things64.checkpoint%", "%ImagenBaseSample64.control_after_generate%",
             "%width%x%nobody.x%",
             "100%_%date:yyyy%", "%ImagenBaseSample64.guidance_scale%%ImagenBaseSample64.strength%", "%What to try.text%",
             "%SaveImage.filename_prefix%"]  # fmt: skip
    graphs = {}
    for text in texts:
        saved = Saved()
        saved.save["widgets_values"] = [text]
        graphs[text] = saved.graph
    return graphs


@case
def values_of_a_node():
    def changed(change):
        saved = Saved()
        change(saved.draw)
        return saved.graph

    def shorter(node):
        node.update(widgets_values=node["widgets_values"][:3], widgets_values_named={"seed": 5, "width": 32})

    def replaced(index, value):
        return lambda node: node["widgets_values"].__setitem__(index, value)

    return {
        "named ones disagree": changed(lambda node: node.update(widgets_values_named={"seed": 5, "steps": 7})),
        "fewer than widgets": changed(shorter),
        "true for a control": changed(replaced(1, True)),
        "false for a control": changed(replaced(1, False)),
        "null for a choice": changed(replaced(4, None)),
        "too many": changed(lambda node: node["widgets_values"].append("more")),
    }


@case
def links_known_to_one_side():
    def changed(change):
        saved = Saved()
        change(saved, saved.image_link(), saved.save["inputs"][slot_of(saved.save, "images")])
        return saved.graph

    def without_list(saved, link, slot):
        saved.links.remove(link)

    def other_slot(saved, link, slot):
        link[4] = 1

    def reordered(saved, link, slot):
        saved.save["inputs"].reverse()

    def unmarked(saved, link, slot):
        slot.update(link=None)
        saved.draw["outputs"][0]["links"] = []

    def competing(saved, link, slot):
        saved.links.insert(0, [99, saved.unet["id"], 0, saved.save["id"], link[4], "IMAGE"])

    def doubled(saved, link, slot):
        saved.links.append([link[0], saved.unet["id"], 0, saved.draw["id"], 2, "X"])

    return {
        "the input names another": changed(lambda saved, link, slot: slot.update(link=999)),
        "the input names none": changed(lambda saved, link, slot: slot.update(link=None)),
        "neither end names it": changed(unmarked),
        "the list does not have it": changed(without_list),
        "to another slot": changed(other_slot),
        "inputs in another order": changed(reordered),
        "two to one input": changed(competing),
        "two with one number": changed(doubled),
    }


@case
def primitives():
    graphs = {f"mode {mode}": Saved() for mode in (0, 2, 4)}
    graphs = {name: saved.primitive(9, saved.draw, "steps", mode=int(name[-1])) for name, saved in graphs.items()}
    for name, value, widget in (("too large", 10**7, "steps"), ("a fraction", 9.6, "steps"), ("null", None, "steps")):
        saved = Saved()
        graphs[name] = saved.primitive(value, saved.draw, widget)
    saved = Saved()
    graphs["of another type"] = saved.primitive("x", saved.draw, "steps", kind="STRING")
    for asked in (True, False):
        saved, properties = Saved(), {"Run widget replace on values": asked}
        text = "%date:yyyy%_%ImagenBaseSample64.steps%"
        graphs[f"tokens {asked}"] = saved.primitive(text, saved.prompt, "text", kind="STRING", properties=properties)
    saved = Saved()
    saved.primitive(9, saved.draw, "steps")
    reroute = saved.add(70, "Reroute", None, [("", "*")], [("", "INT")])
    saved.link(71, next(node for node in saved.graph["nodes"] if node["id"] == 60), reroute, "")
    saved.link(72, reroute, saved.draw, "steps")
    graphs["through a reroute"] = saved.graph
    return graphs


@case
def promoted_widgets():
    def made(promoted, values, proxies=None, change=None):
        saved = Saved()
        key = str(saved.draw["id"])
        proxies = proxies and [(key if node == "it" else node, name) for node, name in proxies]
        host = saved.box(promoted, values, proxies)
        if change:
            change(saved, host)
        return saved.graph

    def fed_by(kind, mode):
        def change(saved, host):
            node = saved.add(60, kind, [9, "fixed"], outputs=[("INT", "INT")], mode=mode)
            saved.link(61, node, host, "steps")

        return change

    def second(proxies, values):
        def change(saved, host):
            other = saved.add(
                54, BOX, values, [(slot["name"], slot["type"]) for slot in host["inputs"]], [("image", "IMAGE")]
            )
            key = str(saved.draw["id"])
            other["properties"]["proxyWidgets"] = [[key, name] for name in proxies]
            saved.link(55, saved.unet, other, "unet")
            saved.link(56, saved.prompt, other, "text")
            saved.link(57, other, saved.add(58, "SaveImage", ["second"], [("images", "IMAGE")]), "images")

        return change

    def socket_too(saved, host):
        saved.definition()["links"].append({"id": 180, "origin_id": -10, "origin_slot": 2, "target_id": saved.draw["id"],
                                            "target_slot": slot_of(saved.draw, "guidance"), "type": "INT"})  # fmt: skip
        saved.draw["inputs"][slot_of(saved.draw, "guidance")]["link"] = 180
        saved.definition()["inputs"][2]["linkIds"].insert(0, 180)

    def primitive_inside(saved, host):
        outputs = [{"name": "INT", "type": "INT", "widget": {"name": "steps"}, "links": [170]}]
        node = saved.add(77, "PrimitiveNode", [9, "fixed"])
        saved.graph["nodes"].remove(node)
        saved.definition()["nodes"].append({**node, "outputs": outputs})
        place = slot_of(saved.draw, "steps")
        saved.draw["inputs"][place]["link"] = 170
        saved.definition()["links"].append({"id": 170, "origin_id": 77, "origin_slot": 0, "target_id": saved.draw["id"],
                                            "target_slot": place, "type": "INT"})  # fmt: skip

    def unlisted(saved, host):
        saved.definition()["inputs"][2]["linkIds"] = []

    both = [("it", "steps"), ("it", "seed")]
    control = [("it", "seed"), ("it", "control_after_generate"), ("it", "steps")]
    return {
        "direct": made((), [33, 77], both),
        "direct, fewer values": made((), [33], both),
        "direct, null": made((), [None, 77], both),
        "direct, with control": made((), [77, "fixed", 33], control),
        "direct, gone and preview": made(
            (), [1, 2, 3, 77], [("9", "x"), ("it", "x"), ("it", "$$preview"), ("it", "seed")]
        ),
        "direct, twice": made((), [1, 2], [("it", "steps"), ("it", "steps")]),
        "linked": made(("steps", "seed"), [33, 77]),
        "linked, named disagree": made(
            ("steps", "seed"), [33, 77], None, lambda s, h: h.update(widgets_values_named={"seed": 1})
        ),
        "linked, other order": made(("steps", "seed"), [77, 33], [("it", "seed"), ("it", "steps")]),
        "linked, part listed": made(("steps", "seed"), [77], [("it", "seed")]),
        "linked, by the instance": made(("steps", "seed"), [77, 33], [("-1", "seed"), ("-1", "steps")]),
        "linked, with control": made(("steps", "seed"), [77, "fixed", 33], control),
        "linked, inputs say nothing": made(("steps", "seed"), [33, 77], None, unlisted),
        "fed by a node": made(("steps",), [33], None, fed_by("PrimitiveInt", 0)),
        "fed by a muted node": made(("steps",), [33], None, fed_by("PrimitiveInt", 2)),
        "fed by a primitive": made(("steps",), [33], None, fed_by("PrimitiveNode", 0)),
        "a socket too": made(("steps",), [33], None, socket_too),
        "two instances": made((), [33, 77], both, second(("seed",), [78])),
        "a primitive inside": made((), [77], [("it", "seed")], primitive_inside),
        "a listed primitive inside": made((), [77, 44], [("it", "seed"), ("77", "value")], primitive_inside),
        "a listed widget with a primitive": made((), [77, 44], [("it", "seed"), ("it", "steps")], primitive_inside),
    }


@case
def nested_subgraphs():
    def made(outer, values, mode=0):
        saved = Saved()
        key = str(saved.draw["id"])
        host = saved.box((), values, outer)
        inner = saved.definition() | {"id": INNER, "name": "Inner"}
        sockets = [(name, kind_of(saved.draw, name)) for name in ("unet", "text")]
        middle = saved.add(80, INNER, [77, 33], sockets, [("image", "IMAGE")], mode=mode)
        saved.graph["nodes"].remove(middle)
        middle["properties"]["proxyWidgets"] = [[key, "seed"], [key, "steps"]]
        saved.graph["definitions"]["subgraphs"] = [subgraph(middle, ["unet", "text"], BOX, 300), inner]
        host["properties"].setdefault("proxyWidgets", [])
        return saved.graph

    return {
        "values of the inner instance": made([], []),
        "values of the outer instance": made([("80", "seed"), ("80", "steps")], [78, 34]),
        "one value of the outer instance": made([("80", "steps")], [34]),
        "the inner instance is muted": made([], [], 2),
    }


@case
def ids_that_are_taken():
    saved = Saved()
    saved.box(("seed",), [77])
    definition = saved.definition()
    taken = saved.unet["id"]
    for link in definition["links"]:
        for end in ("origin_id", "target_id"):
            link[end] = taken if link[end] == saved.draw["id"] else link[end]
    saved.draw["id"] = taken
    return saved.graph


@case
def group_nodes():
    def made(change=None, old=False):
        saved = Saved()
        draw, save = copy.deepcopy(saved.draw), copy.deepcopy(saved.save)
        saved.graph["nodes"] = [node for node in saved.graph["nodes"] if node not in (saved.draw, saved.save)]
        saved.links[:] = [link for link in saved.links if saved.draw["id"] not in (link[1], link[3])]
        for node in (draw, save):
            node["inputs"] = [{**slot, "link": None} for slot in node["inputs"] if not (old and "widget" in slot)]
        links = [[0, 0, 1, slot_of(save, "images"), draw["id"], "IMAGE"]]
        group = {"nodes": [draw, save], "links": links, "external": []}
        values = [5, "fixed", 3, *draw["widgets_values"][3:], "grouped"]
        sockets = [("unet", kind_of(draw, "unet")), ("text", kind_of(draw, "text"))]
        box = saved.add(50, "workflow>draw", values, sockets)
        saved.link(51, saved.unet, box, "unet")
        saved.link(52, saved.prompt, box, "text")
        saved.graph["extra"]["groupNodes"] = {"draw": group}
        if change:
            change(saved, box, group)
        return saved.graph

    def used_outside(saved, box, group):
        group["external"] = [[0, 0, "IMAGE"]]
        box["outputs"] = [{"name": "image", "type": "IMAGE", "links": []}]
        saved.link(53, box, saved.add(90, "SaveImage", ["outside"], [("images", "IMAGE")]), "images")

    def widget_fed(saved, box, group):
        box["inputs"].append({"name": "steps", "type": "INT", "widget": {"name": "steps"}, "link": None})
        saved.link(54, saved.add(91, "PrimitiveInt", [11, "fixed"], outputs=[("INT", "INT")]), box, "steps")

    def two(saved, box, group):
        other = {**copy.deepcopy(box), "id": 55}
        other["widgets_values"][0] = 6
        saved.graph["nodes"].append(other)
        saved.link(56, saved.unet, other, "unet")
        saved.link(57, saved.prompt, other, "text")

    def reroute_inside(saved, box, group):
        slot = {"name": "", "type": "*", "link": None}
        outputs = [{"name": "", "type": "IMAGE", "links": []}]
        place = {key: group["nodes"][1][key] for key in ("pos", "size", "flags", "order", "mode")}
        node = {"id": 92, "type": "Reroute", **place, "inputs": [slot], "outputs": outputs, "properties": {}}
        group["nodes"].append(node)
        group["links"] = [[0, 0, 2, 0, 1, "IMAGE"], [2, 0, 1, group["links"][0][3], 1, "IMAGE"]]

    def renamed(saved, box, group):
        group["config"] = {"0": {"input": {"steps": {"name": "many"}, "width": {"visible": False}}}}

    return {
        "as saved last": made(),
        "as saved first": made(old=True),
        "with a slash": made(lambda saved, box, group: box.update(type="workflow/draw")),
        "muted": made(lambda saved, box, group: box.update(mode=2)),
        "without values": made(lambda saved, box, group: box.update(widgets_values=[])),
        "an inner node is muted": made(lambda saved, box, group: group["nodes"][1].update(mode=2)),
        "ids were given before": made(lambda saved, box, group: saved.graph.update(last_node_id=100)),
        "an output used inside and outside": made(used_outside),
        "a fed widget": made(widget_fed),
        "two of them": made(two),
        "a reroute inside": made(reroute_inside),
        "renamed and hidden inputs": made(renamed),
    }
