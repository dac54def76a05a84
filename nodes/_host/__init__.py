"""What do the nodes ask of their host? Model files, memory, progress, pictures in the host's form.

The only folder that imports ComfyUI's modules or the embedded host's.
"""

from .files import UNET_KINDS, fingerprint, model_folders, model_names, model_path, stage_names
from .memory import device, load_device, loaded, managed, unet_dtype
from .pictures import empty_latent, image_from_core, image_from_latent, image_to_core, latent_from_image, mask_to_core
from .progress import step_reporter
from .which import IN_COMFYUI, throw_if_interrupted

__all__ = [
    "IN_COMFYUI",
    "UNET_KINDS",
    "device",
    "empty_latent",
    "fingerprint",
    "image_from_core",
    "image_from_latent",
    "image_to_core",
    "latent_from_image",
    "load_device",
    "loaded",
    "managed",
    "mask_to_core",
    "model_folders",
    "model_names",
    "model_path",
    "stage_names",
    "step_reporter",
    "throw_if_interrupted",
    "unet_dtype",
]
