"""Graphs, prompts and records of runs, each with something broken in it: what the fuzzer of workflows feeds."""

import copy
import json
import random
import struct
import zlib

from host_graphs import BOX, Ui, definition, entry, instance

WEIRD = [
    None, True, False, 0, -1, 3, 10**18, 10**400, 2.5, float("nan"), float("inf"), "", "x", "1", "%date:yyyy%_%x.y%", "5\nb",
    "\ud800", "\x00", "a" * 3000, [], [[]], [None], [1, 2, 3], ["1", 0], {}, {"a": 1}, {"__value__": [1]}, -10, -20, "-10",
]  # fmt: skip


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


class Bases:
    """Whole workflows to begin with: every kind that is read."""

    def __init__(self, object_info):
        self.info = object_info
        makers = (self.plain, self.subgraphs, self.listed, self.groups, self.virtual, self.primitives)
        graphs = [make() for make in makers]
        prompt = {"1": entry("Number", value=3), "2": entry("Show", value=["1", 0], label="%A Number.value%")}
        whole = {"prompt": prompt, "extra_data": {"extra_pnginfo": {"workflow": graphs[0]}}}
        history = {"id": {"prompt": [1, "id", prompt, whole["extra_data"], ["2"]], "outputs": {}, "status": {}}}
        self.all = [
            *graphs,
            *graphs,
            prompt,
            {"workflow": graphs[1]},
            {"output": prompt, "workflow": graphs[0]},
            whole,
            history,
        ]

    def plain(self):
        ui = Ui(self.info)
        number, seeded, add = ui.node("Number", [1]), ui.node("Seeded", [42, "fixed", 2.5]), ui.node("Add", [2, 3])
        picture, save = (
            ui.node("Picture", [0, "fixed", 1, 4, 4, 0.0]),
            ui.node("SaveImage", ["%date:yyyy%/%Picture.width%"]),
        )
        ui.link(number, add, "a")
        ui.link(seeded, add, "b")
        ui.link(add, ui.node("Show", [""], mode=0), "value")
        ui.link(picture, save, "images")
        return ui.json()

    def subgraphs(self):
        ui, inner, outer = Ui(self.info), Ui(self.info), Ui(self.info)
        add = inner.node("Add", [3, 4], id=11)
        middle = instance(outer, ["a", "b"], [6], key="inner", id=12)
        number, box, show = ui.node("Number", [1]), instance(ui, ["a", "b"], [5]), ui.node("Show", [""])
        ui.link(number, box, "a")
        ui.link(box, show, "value")
        definitions = [definition(middle, ["a", "b"], first=200), definition(add, ["a", "b"], key="inner")]
        return ui.json(definitions={"subgraphs": definitions})

    def listed(self):
        ui = Ui(self.info)
        add, number = Ui(self.info).node("Add", [3, 4], id=11), ui.node("Number", [1])
        for _ in range(2):
            box = instance(ui, ["a"], [5, 6], [("11", "b"), ("11", "c")])
            ui.link(number, box, "a")
            ui.link(box, ui.node("Show", [""]), "value")
        return ui.json(definitions={"subgraphs": [definition(add, ["a"])]})

    def groups(self):
        ui, inner = Ui(self.info), Ui(self.info)
        inner.node("Number", [1])
        inner.node("Add", [2, 3])
        inner.primitive(4)
        links = [[0, 0, 1, 0, 1, "INT"], [2, 0, 1, 1, 3, "INT"]]
        group = {"nodes": inner.nodes, "links": links, "external": [[1, 0, "INT"]]}
        slots = [{"name": "c", "type": "INT", "link": None, "widget": {"name": "c"}}]
        outputs = [{"name": "INT", "type": "INT", "links": []}]
        box = ui.node("workflow>sum", [7, "fixed", 8, 9], inputs=slots, outputs=outputs)
        ui.link(box, ui.node("Show", [""]), "value")
        return ui.json(extra={"groupNodes": {"sum": group}})

    def virtual(self):
        ui = Ui(self.info)
        anything = [{"name": "*", "type": "*", "link": None}], [{"name": "*", "type": "*", "links": []}]
        setter = ui.node("SetNode", ["x"], inputs=anything[0], outputs=[])
        getter = ui.node("GetNode", ["x"], inputs=[], outputs=anything[1])
        reroute, bypassed, show = ui.reroute(), ui.node("Add", [1, 2], mode=4), ui.node("Show", [""])
        ui.link(ui.node("Number", [1]), setter, "*")
        ui.link(getter, reroute, "")
        ui.link(reroute, bypassed, "a")
        ui.link(bypassed, show, "value")
        ui.node("Bookmark (rgthree)", ["1", 1])
        return ui.json()

    def primitives(self):
        ui = Ui(self.info)
        add, show = ui.node("Add", [2, 3]), ui.node("Show", [""])
        ui.link(ui.node("Number", [1]), add, "a")
        ui.link(ui.primitive(9), add, "b")
        ui.link(ui.primitive("%date:d%", "STRING"), show, "label")
        ui.link(add, show, "value")
        return ui.json()


def places(data):
    """Every (container, key) inside parsed JSON."""
    waiting, found = [data], []
    while waiting:
        item = waiting.pop()
        keys = list(item) if isinstance(item, dict) else range(len(item)) if isinstance(item, list) else ()
        for key in keys:
            found.append((item, key))
            waiting.append(item[key])
    return found


def broken(base, chance: random.Random):
    """A copy of parsed JSON with one to four things changed: removed, doubled, moved, or of another kind."""
    data = copy.deepcopy(base)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4))):
        found = places(data)
        if not found:
            break
        container, key = chance.choice(found)
        what = chance.random()
        if what < 0.15:
            del container[key]
        elif what < 0.25 and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
        elif what < 0.45:
            other, place = chance.choice(found)
            container[key] = copy.deepcopy(other[place]) if len(str(other)) < 20_000 else None
        elif what < 0.5:
            container[key] = nested(chance.choice((3, 99, 150)))
        elif what < 0.55 and isinstance(container, dict):
            container[chance.choice(("type", "id", "link", "mode", "inputs", "nodes", "x"))] = chance.choice(WEIRD)
        elif what < 0.7 and isinstance(container[key], (int, str)) and not isinstance(container[key], bool):
            near = chance.choice(
                (0, 1, 2, 3, 4, 5, 11, 12, -10, -20, BOX, "inner", "workflow>sum", "SetNode", "Reroute")
            )
            container[key] = near
        else:
            container[key] = copy.deepcopy(chance.choice(WEIRD))
    return data


def as_bytes(data, chance: random.Random):
    """The JSON as a file: in one of the encodings, or carried by a picture; sometimes cut, or with a bit turned."""
    text = json.dumps(data)
    form = chance.random()
    if form < 0.6:
        raw = text.encode()
    elif form < 0.75:
        raw = text.encode(chance.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")))
    else:
        texts = {
            chance.choice(("prompt", "workflow")): text,
            chance.choice(("prompt", "workflow")): chance.choice((text, "", "null", "{}", "{")),
        }
        raw = chance.choice((png, png_packed, webp, jpeg))(texts)
    if chance.random() < 0.15:
        raw = raw[: chance.randrange(len(raw) + 1)]
    if chance.random() < 0.15 and raw:
        place = chance.randrange(min(len(raw), chance.choice((40, len(raw)))))
        raw = raw[:place] + bytes([raw[place] ^ (1 << chance.randrange(8))]) + raw[place + 1 :]
    return raw


def _chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(texts, packed=False):
    """A picture of one point that carries texts."""
    chunks = [_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)), _chunk(b"IDAT", zlib.compress(b"\0\0"))]
    for key, text in texts.items():
        body = zlib.compress(text.encode()) if packed else text.encode()
        chunks.append(_chunk(b"iTXt", key.encode() + b"\0" + bytes([packed, 0]) + b"\0\0" + body))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + _chunk(b"IEND", b"")


def png_packed(texts):
    return png(texts, packed=True)


def exif(texts):
    """EXIF with a text in each of the tags that ComfyUI uses: Make, Model, ..."""
    entries, blob = [], b""
    start = 8 + 2 + 12 * len(texts) + 4
    for tag, (key, text) in enumerate(texts.items(), 0x010F):
        body = f"{key}:{text}".encode() + b"\0"
        body += b"\0" * max(0, 5 - len(body))
        entries.append(struct.pack("<HHII", tag, 2, len(body), start + len(blob)))
        blob += body + b"\0" * (len(body) % 2)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + struct.pack("<I", 0) + blob


def webp(texts):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "WEBP", exif=exif(texts))
    return file.getvalue()


def jpeg(texts):
    import io

    from PIL import Image

    file = io.BytesIO()
    data = b"Exif\0\0" + exif(texts)
    Image.new("RGB", (1, 1)).save(file, "JPEG", exif=data if len(data) < 65_000 else b"")
    return file.getvalue()
