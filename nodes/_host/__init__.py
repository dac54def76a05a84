"""What do the nodes ask of their host? Model files, memory, progress, pictures in the host's form.

The only folder that imports ComfyUI's modules or the embedded host's.
"""

from .files import fingerprint, model_folders, model_names, model_path
from .memory import device, managed
from .pictures import image_from_core, image_to_core
from .progress import step_reporter
from .which import IN_COMFYUI, throw_if_interrupted

__all__ = [
    "IN_COMFYUI",
    "device",
    "fingerprint",
    "image_from_core",
    "image_to_core",
    "managed",
    "model_folders",
    "model_names",
    "model_path",
    "step_reporter",
    "throw_if_interrupted",
]
