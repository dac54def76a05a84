"""ImagenLoadVAE: a VAE small enough for a CPU, or none at all."""

from ..imagen_core import LATENT_FORMS, PixelSpace, find_vaes, load_vae
from . import _host, _sockets

PIXELS = "pixel_space"


class ImagenLoadVAE:
    DISPLAY_NAME = "Imagen Load VAE"
    DESCRIPTION = (
        "Loads a tiny VAE (TAESD, TAESDXL, TAESD3, TAEF1: 5 MB, MIT), in any host, or pixel_space, which leaves pictures as "
        "they are. ComfyUI's own Load VAE reads these and every large one; nodes take both alike."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["vae", "taesd", "tiny vae", "autoencoder", "load vae", "pixel space"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.VAE,)
    RETURN_NAMES = ("vae",)
    OUTPUT_TOOLTIPS = ("For Imagen Latent To Image, Imagen VAE Loss, VAE Decode and VAE Encode.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "vae": (
                    [PIXELS, *_host.vae_names(find_vaes)],
                    {
                        "default": PIXELS,
                        "tooltip": "taesd_decoder.safetensors with its encoder beside it, one file of both, or a folder of "
                        "diffusers' AutoencoderTiny, under models/imagen, models/vae_approx or models/vae. pixel_space "
                        "needs no file.",
                    },
                ),
                "latents": (
                    [*LATENT_FORMS],
                    {
                        "default": "sd1",
                        "tooltip": "Whose latents they are, which no file says. sd1: Stable Diffusion 1 and 2, and DiT "
                        "(taesd). sdxl: taesdxl. sd3: taesd3. flux: taef1. pixel_space does not ask.",
                    },
                ),
            }
        }

    @classmethod
    def IS_CHANGED(cls, vae, latents):
        return "" if vae == PIXELS else _host.fingerprint(vae, *_host.VAE_KINDS)

    def load(self, vae, latents):
        if vae == PIXELS:
            return (_host.PictureVAE(PixelSpace()),)
        return (_host.PictureVAE(load_vae(_host.model_path(vae, *_host.VAE_KINDS), latents)),)
