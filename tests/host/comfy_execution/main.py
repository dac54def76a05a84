"""Stands where ComfyUI's main.py would, for ComfyUI's own execution tests: starts the embedded host with their node pack.

Their nodes import a few names of ComfyUI; what they need of these is written here, on our host. Everything that the tests
look at (order, cache, expansion, blocking, messages, history, jobs) is the embedded host's own.
"""

import argparse
import asyncio
import importlib.util
import os
import socket
import sys
import types
from pathlib import Path

from imagen_host import runtime


def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)
    return sys.modules[name]


class Progress:
    def set(self, value, max_value, **more):
        runtime.ProgressBar(max_value).update_absolute(value)


class SyncApi:
    class execution(Progress):
        set_progress = classmethod(Progress.set)


class Api:
    class execution(Progress):
        @classmethod
        async def set_progress(cls, value, max_value, **more):
            cls.set(cls, value, max_value)


class Rebatch:
    """ComfyUI's RebatchImages, which one test puts behind its own nodes."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("IMAGE",), "rebatch", "image/batch"
    INPUT_IS_LIST, OUTPUT_IS_LIST = True, (True,)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE",), "batch_size": ("INT", {"default": 1, "min": 1, "max": 4096})}}

    def rebatch(self, images, batch_size):
        import torch

        return (list(torch.cat(images).split(batch_size[0])),)


def stand_in_for_comfyui(checkout: Path) -> None:
    """The modules that the test nodes import."""
    spec = importlib.util.spec_from_file_location(
        "comfy_execution.graph_utils", checkout / "comfy_execution" / "graph_utils.py"
    )
    graph_utils = importlib.util.module_from_spec(spec)  # a helper that writes graphs, and needs nothing of ComfyUI
    spec.loader.exec_module(graph_utils)
    graph_utils.ExecutionBlocker = runtime.ExecutionBlocker
    names = types.SimpleNamespace(ANY="*", INT="INT", FLOAT="FLOAT", STRING="STRING", BOOLEAN="BOOLEAN", IMAGE="IMAGE")
    module("comfy_execution")
    sys.modules["comfy_execution.graph_utils"] = graph_utils
    module("comfy_execution.graph", ExecutionBlocker=runtime.ExecutionBlocker)
    module("comfy")
    module("comfy.utils", ProgressBar=runtime.ProgressBar)
    module("comfy.comfy_types", IO=names, ComfyNodeABC=object, InputTypeDict=dict)
    module("comfy.comfy_types.node_typing", ComfyNodeABC=object, IO=names)
    module("comfy_api")
    module("comfy_api.v0_0_2", ComfyAPI=Api, ComfyAPISync=SyncApi)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8188)
    parser.add_argument("--output-directory", type=Path, default=Path("output"))
    options, _ = parser.parse_known_args()
    listener = socket.create_server((options.listen, options.port))  # before all that takes seconds: the tests wait 20
    from imagen_host.registry import Registry, load_registry, pack_folder
    from imagen_host.server.app import create_app, serve
    from imagen_host.server.state import ServerState

    stand_in_for_comfyui(Path(os.environ["COMFYUI_PATH"]))
    registry = load_registry()
    registry = Registry(classes={**registry.classes, "RebatchImages": Rebatch}, display_names=registry.display_names)
    for folder in ("output", "input", "temp", "user", "editor"):
        Path(folder).mkdir(exist_ok=True)
    Path("editor/index.html").write_text("<title>no editor</title>")
    host = runtime.Runtime(
        input_directories=[Path("input").absolute()],
        output_directory=options.output_directory.absolute(),
        temp_directory=Path("temp").absolute(),
    )
    state = ServerState(
        registry=registry,
        host=host,
        pack=pack_folder(),
        user_directory=Path("user").absolute(),
        frontend=Path("editor").absolute(),
    )
    asyncio.run(serve(create_app(state), listener, print))


if __name__ == "__main__":
    main()
