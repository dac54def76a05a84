"""The few nodes of ComfyUI's own that our graphs need: pictures in, pictures out, and constants.

Class ids, inputs and files on disk match ComfyUI, so a graph runs in either host. IMAGE is (b h w c) float32 in 0..1,
MASK (b h w) with 1 where the picture is transparent.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from . import runtime
from .pictures import pictures

HIDDEN = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}


class LoadImage:
    DESCRIPTION = "Loads a picture from the input folder, turned upright, with its transparency as a mask."
    CATEGORY = "image"
    ESSENTIALS_CATEGORY = "Basics"
    SEARCH_ALIASES = ["open image", "read image", "import photo", "upload image"]
    FUNCTION = "load_image"
    RETURN_TYPES = ("IMAGE", "MASK")
    OUTPUT_TOOLTIPS = ("The picture; several when the file is animated.", "1 where the picture is transparent.")

    @classmethod
    def INPUT_TYPES(cls):
        files = [name for folder in runtime.searched_directories("") for name in _files(folder)]
        names = sorted({name for name in files if Path(name).suffix.lower() in pictures.SUFFIXES})
        return {"required": {"image": (names, {"image_upload": True, "tooltip": "A file in the input folder."})}}

    @classmethod
    def IS_CHANGED(cls, image):
        digest = hashlib.sha256()
        with open(runtime.get_annotated_filepath(image), "rb") as file:
            while part := file.read(2**20):
                digest.update(part)
        return digest.hexdigest()

    @classmethod
    def VALIDATE_INPUTS(cls, image):
        try:
            pictures.check(Path(runtime.get_annotated_filepath(image)))
        except (OSError, ValueError) as problem:
            return str(problem)
        return True

    def load_image(self, image):
        return pictures.load(Path(runtime.get_annotated_filepath(image)))


class SaveImage:
    DESCRIPTION = "Saves pictures as PNG in the output folder, with the graph that made them inside."
    CATEGORY = "image"
    ESSENTIALS_CATEGORY = "Basics"
    SEARCH_ALIASES = ["save", "export image", "write png", "output image", "download"]
    FUNCTION = "save_images"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE",), ("images",)
    OUTPUT_TOOLTIPS = ("The pictures as they came in.",)
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        prefix_tip = (
            "Start of the file name; may hold a subfolder and %width% %height% %year% %month% %day% %hour% %minute% "
            "%second% %batch_num%."
        )
        return {
            "required": {
                "images": ("IMAGE", {"tooltip": "The pictures to save."}),
                "filename_prefix": ("STRING", {"default": "ComfyUI", "tooltip": prefix_tip}),
            },
            "hidden": dict(HIDDEN),
        }

    @classmethod
    def VALIDATE_INPUTS(cls, filename_prefix):
        if filename_prefix is not None:
            try:
                runtime.get_save_image_path(filename_prefix, runtime.get_output_directory())
            except (OSError, ValueError) as problem:
                return str(problem)
        return True

    def save_images(self, images, filename_prefix="ComfyUI", prompt=None, extra_pnginfo=None):
        texts = pictures.graph_texts(prompt, extra_pnginfo)
        saved = pictures.save(images, filename_prefix, runtime.get_output_directory(), texts)
        return {"ui": {"images": [{**entry, "type": "output"} for entry in saved]}, "result": (images,)}


class PreviewImage:
    DESCRIPTION = "Shows pictures without keeping them: they go to the temporary folder."
    CATEGORY = "image"
    SEARCH_ALIASES = ["preview", "show image", "view image", "image viewer"]
    FUNCTION = "preview_images"
    RETURN_TYPES, RETURN_NAMES = ("IMAGE",), ("images",)
    OUTPUT_TOOLTIPS = ("The pictures as they came in.",)
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"images": ("IMAGE", {"tooltip": "The pictures to show."})}, "hidden": dict(HIDDEN)}

    def preview_images(self, images, prompt=None, extra_pnginfo=None):
        texts = pictures.graph_texts(prompt, extra_pnginfo)
        saved = pictures.save(images, "preview", runtime.get_temp_directory(), texts, compress_level=1)
        return {"ui": {"images": [{**entry, "type": "temp"} for entry in saved]}, "result": (images,)}


def _files(folder: Path) -> list[str]:
    """The names of the files in a folder, those behind links too; of what the disk lets nobody look at, none."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if os.path.isfile(entry.path)]
    except OSError:
        return []


def _primitive(kind: str, label: str, aliases: tuple[str, ...] = (), **options) -> type:
    """A node whose only output is the constant in its widget."""

    class Primitive:
        DESCRIPTION = f"A constant {label} that several inputs can share."
        CATEGORY = "utilities/primitive"
        SEARCH_ALIASES = list(aliases)
        FUNCTION = "execute"
        RETURN_TYPES = (kind,)

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {"value": (kind, {"tooltip": "The constant.", **options})}}

        def execute(self, value):
            return (value,)

    return Primitive


LARGEST = 2**63 - 1
WORDS = ("text", "string", "text box", "prompt")
NODE_CLASS_MAPPINGS = {
    "LoadImage": LoadImage,
    "SaveImage": SaveImage,
    "PreviewImage": PreviewImage,
    # ComfyUI says control_after_generate="fixed" today; editors of our oldest supported version take nothing but True
    "PrimitiveInt": _primitive("INT", "integer", min=-LARGEST, max=LARGEST, control_after_generate=True),
    "PrimitiveFloat": _primitive("FLOAT", "number", min=-LARGEST, max=LARGEST, step=0.1),
    "PrimitiveString": _primitive("STRING", "text", WORDS, multiline=False),
    "PrimitiveStringMultiline": _primitive("STRING", "text", (*WORDS, "text multiline"), multiline=True),
    "PrimitiveBoolean": _primitive("BOOLEAN", "yes or no"),
}
NODE_CLASS_MAPPINGS["PrimitiveStringMultiline"].ESSENTIALS_CATEGORY = "Basics"
NODE_DISPLAY_NAME_MAPPINGS = {
    "LoadImage": "Load Image",
    "SaveImage": "Save Image",
    "PreviewImage": "Preview Image",
    "PrimitiveInt": "Int",
    "PrimitiveFloat": "Float",
    "PrimitiveString": "Text",
    "PrimitiveStringMultiline": "Text (Multiline)",
    "PrimitiveBoolean": "Boolean",
}
