"""A small node pack that exercises everything a host promises to a node class."""

from .flow import NODES as FLOW
from .image import NODES as IMAGE
from .waiting import NODES as WAITING

NODE_CLASS_MAPPINGS = {**FLOW, **IMAGE, **WAITING}
NODE_DISPLAY_NAME_MAPPINGS = {"Number": "A Number"}
WEB_DIRECTORY = "web"
