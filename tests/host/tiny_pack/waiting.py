"""Nodes whose code waits (async def), and nodes that answer with more nodes. RECORD holds what happened, in order."""

import asyncio

from imagen_host.runtime import ExecutionBlocker, ProgressBar, current

from .flow import ANY, CALLS, INT, LAZY, SOCKET, STATE, node

RECORD: list = []


async def meet(self, value, count):
    """Ends only when `count` such calls run at the same time."""
    RECORD.append(("come", value))
    for _ in range(1000):
        if sum(kind == "come" for kind, _ in RECORD) >= count:
            RECORD.append(("gone", value))
            return (value,)
        await asyncio.sleep(0)
    raise RuntimeError("nobody else came")


async def stumble(self, value):
    await asyncio.sleep(0)
    raise RuntimeError("stumbled")


async def doze(self, value, stop=False):
    """Sleeps for long; with `stop` the user asks for the run to end as soon as it sleeps."""
    RECORD.append(("come", value))
    current().interrupt(stop)
    try:
        await asyncio.sleep(60)
    finally:
        RECORD.append(("woken", value))


async def count_up(self, value):
    bar = ProgressBar(value)
    for _ in range(value):
        await asyncio.sleep(0)
        bar.update()
    return (value,)


async def check_slowly(cls, word):
    await asyncio.sleep(0)
    return word == "please" or f"say please, not {word}"


async def changed_slowly(cls, word, **rest):
    await asyncio.sleep(0)
    return STATE["version"]


async def ask_slowly(self, word, a=None):
    await asyncio.sleep(0)
    return ["a"] if a is None else []


def polite(self, word, a=None):
    CALLS.append(("Polite", word))
    return (a,)


def repeat(self, value, times, unique_id):
    """`times` Add nodes in a chain, the first of which reads the number itself."""
    ids = [f"{unique_id}.{i}" for i in range(times)]
    values = [[ids[i - 1], 0] if i else value for i in range(times)]
    inside = {name: {"class_type": "Add", "inputs": {"a": a, "b": 1}} for name, a in zip(ids, values, strict=True)}
    return {"result": ([ids[-1], 0],), "expand": inside, "ui": {"note": [times]}} if times else (value,)


def odd_ones(self, value, unique_id):
    """More nodes for even numbers, the number for odd ones."""
    if value % 2:
        return (value, value)
    inner = f"{unique_id}.{value}"
    return {"result": ([inner, 0], value), "expand": {inner: {"class_type": "Many", "inputs": {"count": value}}}}


BAD = {
    "text": "nodes",
    "no node": {"a": 5},
    "unknown": {"a": {"class_type": "Nothing", "inputs": {}}},
    "taken": {"n": {"class_type": "Number", "inputs": {"value": 1}}},
    "no source": {"a": {"class_type": "Add", "inputs": {"a": ["b", 0], "b": 1}}},
    "no output": {"a": {"class_type": "Add", "inputs": {"a": ["n", 7], "b": 1}}},
    "ring": {
        "a": {"class_type": "Add", "inputs": {"a": ["b", 0], "b": 1}},
        "b": {"class_type": "Add", "inputs": {"a": ["a", 0], "b": 1}},
    },
    "itself": {"a": {"class_type": "Add", "inputs": {"a": ["bad", 0], "b": 1}}},
    "fails": {"a": {"class_type": "Broken", "inputs": {"value": 1}}},
}


def bad_expansion(self, kind):
    return {"result": (["a", 0],), "expand": BAD[kind]}


def show_inside(self, value, unique_id):
    inner = f"{unique_id}.show"
    return {"expand": {inner: {"class_type": "Show", "inputs": {"value": value}}}}


def raw(self, link, graph):
    return (f"{link[0]} {graph.get_node(link[0])['class_type']} {graph.get_display_node_id(link[0])}",)


def no_evens(self, value):
    return (ExecutionBlocker(None) if value % 2 == 0 else value,)


ID = {"unique_id": "UNIQUE_ID"}
NODES = {
    "Meet": node({"value": INT, "count": INT}, ("INT",), meet),
    "Stumble": node({"value": INT}, ("INT",), stumble),
    "Doze": node({"value": INT}, ("INT",), doze, optional={"stop": ("BOOLEAN", {"default": False})}),
    "CountUp": node({"value": INT}, ("INT",), count_up),
    "Polite": node(
        {"word": ("STRING", {})},
        ("INT",),
        polite,
        optional={"a": LAZY},
        VALIDATE_INPUTS=classmethod(check_slowly),
        IS_CHANGED=classmethod(changed_slowly),
        check_lazy_status=ask_slowly,
    ),
    "Repeat": node({"value": INT, "times": INT}, ("INT",), repeat, hidden=ID),
    "OddOnes": node({"value": INT}, ("INT", "INT"), odd_ones, hidden=ID),
    "BadExpansion": node({"kind": (list(BAD), {})}, ("INT",), bad_expansion),
    "ShowInside": node({"value": (ANY,)}, (), show_inside, hidden=ID, OUTPUT_NODE=True),
    "Raw": node({"link": ("INT", {"rawLink": True})}, ("STRING",), raw, hidden={"graph": "DYNPROMPT"}),
    "NoEvens": node({"value": SOCKET}, ("INT",), no_evens),
    "SumAll": node({"first": SOCKET}, ("INT",), lambda self, first, **more: (first + sum(more.values()),)),
    "Either": node({"value": ("INT,COLOUR", {})}, ("STRING",), lambda self, value: (repr(value),)),
    "Glance": node(
        {"value": SOCKET},
        ("INT",),
        lambda self, value: {"ui": {"glance": [value]}, "result": (value,)},
        HAS_INTERMEDIATE_OUTPUT=True,
    ),
}
