"""What do the nodes ask of their host? Model files, memory, progress, pictures in the host's form.

The only folder that imports ComfyUI's modules or the embedded host's.
"""

from .clip import image_embeds_of, text_encoder_of
from .files import (
    CLIP_KINDS,
    CONTROL_KINDS,
    LORA_KINDS,
    TEXT_KINDS,
    UNET_KINDS,
    VAE_KINDS,
    clip_names,
    control_names,
    fingerprint,
    lora_names,
    model_folders,
    model_path,
    new_lora_path,
    stage_names,
    text_encoder_names,
    tokenizer_places,
    vae_names,
)
from .input_pictures import load_picture, picture_fingerprint, picture_names, problem_with_picture
from .memory import computing, device, load_device, loaded, managed, unet_dtype
from .pictures import empty_latent, image_from_core, image_from_latent, image_to_core, latent_from_image, mask_to_core
from .progress import layer_reporter, step_reporter, training_reporter
from .vae import PictureVAE, decoded, round_trip
from .which import IN_COMFYUI, throw_if_interrupted

__all__ = [
    "CLIP_KINDS",
    "CONTROL_KINDS",
    "IN_COMFYUI",
    "LORA_KINDS",
    "PictureVAE",
    "TEXT_KINDS",
    "UNET_KINDS",
    "VAE_KINDS",
    "clip_names",
    "computing",
    "control_names",
    "decoded",
    "device",
    "empty_latent",
    "fingerprint",
    "image_embeds_of",
    "image_from_core",
    "image_from_latent",
    "image_to_core",
    "latent_from_image",
    "layer_reporter",
    "load_device",
    "load_picture",
    "loaded",
    "lora_names",
    "managed",
    "mask_to_core",
    "model_folders",
    "model_path",
    "new_lora_path",
    "picture_fingerprint",
    "picture_names",
    "problem_with_picture",
    "round_trip",
    "stage_names",
    "step_reporter",
    "text_encoder_names",
    "text_encoder_of",
    "throw_if_interrupted",
    "tokenizer_places",
    "training_reporter",
    "unet_dtype",
    "vae_names",
]
