"""Imagen in pixel space: what ComfyUI imports."""

if __package__:  # a test runner may import this file bare, without its folder as a package
    from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

    WEB_DIRECTORY = "./web"  # holds no scripts: docs/<node id>.md are the help pages that the editor shows

    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
