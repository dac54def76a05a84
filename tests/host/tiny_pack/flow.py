"""Nodes that move numbers, lists and failures through a graph. CALLS records what ran, in order."""

import weakref

from imagen_host.runtime import ExecutionBlocker

CALLS: list[tuple] = []
STATE = {"version": 0}


class AnyType(str):
    """A socket type that fits every other: unequal to none."""

    __hash__ = str.__hash__

    def __ne__(self, other):
        return False


ANY = AnyType("*")


def node(required, returns, function, optional=None, hidden=None, **attributes):
    """A V1 node class around `function(self, **inputs)`."""
    inputs = {"required": required, "optional": optional or {}, "hidden": hidden or {}}
    members = {
        "INPUT_TYPES": classmethod(lambda cls: inputs),
        "RETURN_TYPES": returns,
        "FUNCTION": "run",
        "CATEGORY": "tiny",
        "run": function,
        **attributes,
    }
    return type("Tiny", (), members)


def number(self, value):
    CALLS.append(("Number", value))
    return (value,)


def add(self, a, b, c=0):
    CALLS.append(("Add", a, b))
    return (a + b + c,)


def show(self, value, label=""):
    CALLS.append(("Show", value))
    return {"ui": {"values": [value]}}


def pick_status(self, use_a, a=None, b=None):
    return ["a"] if use_a and a is None else ["b"] if not use_a and b is None else []


def broken(self, value):
    held = {value}
    STATE["held"] = weakref.ref(held)
    raise RuntimeError("the disk is on fire")


def leave(self, value):
    raise SystemExit(3)


def check_fussy(cls, word, number):
    return True if word == "please" and number in (None, 3) else f"say please, not {word}"


def changing(cls, value):
    return STATE["version"] if value < 90 else float("nan")


def named(self, value, unique_id=None, prompt=None):
    CALLS.append(("Named", unique_id))
    return (f"{unique_id} of {len(prompt)}",)


INT = ("INT", {"default": 1, "min": 0, "max": 100})
SOCKET = ("INT", {"forceInput": True})
LAZY = ("INT", {"lazy": True, "forceInput": True})
SEED = ("INT", {"default": 0, "min": 0, "max": 2**53 - 1, "control_after_generate": True})
NODES = {
    "Number": node({"value": INT}, ("INT",), number),
    "Add": node({"a": SOCKET, "b": INT}, ("INT",), add, optional={"c": INT}),
    "Seeded": node({"seed": SEED, "scale": ("FLOAT", {"default": 1.0})}, ("INT",), lambda self, seed, scale: (seed,)),
    "Show": node({"value": (ANY,)}, (), show, optional={"label": ("STRING", {})}, OUTPUT_NODE=True),
    "Quiet": node({"value": (ANY,)}, (), lambda self, value: (), OUTPUT_NODE=True),
    "Odd": node({"value": INT}, ("FLOAT",), lambda self, value: (float("nan"),)),
    "Many": node({"count": INT}, ("INT",), lambda self, count: (list(range(count)),), OUTPUT_IS_LIST=(True,)),
    "Gather": node({"values": SOCKET}, ("INT",), lambda self, values: (sum(values),), INPUT_IS_LIST=True),
    "Pick": node(
        {"use_a": ("BOOLEAN", {"default": True})},
        ("INT",),
        lambda self, use_a, a=None, b=None: (a if use_a else b,),
        optional={"a": LAZY, "b": LAZY},
        check_lazy_status=pick_status,
    ),
    "Choice": node({"kind": (["red", "green", 3], {})}, ("STRING",), lambda self, kind: (str(kind),)),
    "Leave": node({"value": INT}, ("INT",), leave),
    "Broken": node({"value": SOCKET}, ("INT",), broken),
    "Short": node({"value": INT}, ("INT", "INT"), lambda self, value: (value,)),
    "Fussy": node(
        {"word": ("STRING", {}), "number": ("INT", {"max": 2})},
        ("STRING",),
        lambda self, word, number: (word,),
        VALIDATE_INPUTS=classmethod(check_fussy),
    ),
    "Changing": node({"value": INT}, ("INT",), number, IS_CHANGED=classmethod(changing)),
    "Named": node({"value": INT}, ("STRING",), named, hidden={"unique_id": "UNIQUE_ID", "prompt": "PROMPT"}),
    "Block": node({"value": INT}, ("INT",), lambda self, value: ExecutionBlocker("no" if value > 50 else None)),
    "ImagenTextEncode": node(
        {"text": ("STRING", {"multiline": True}), "negative_text": ("STRING", {"multiline": True, "default": ""})},
        ("STRING",),
        lambda self, text, negative_text: (f"{text}|{negative_text}",),
    ),
}
