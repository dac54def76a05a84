"""ImagenLatentToImage: any model's latent as a picture that our super-resolution goes on with."""

from ..imagen_core import matching_aug_level, resize_longest_side
from . import _host, _sockets


class ImagenLatentToImage:
    DISPLAY_NAME = "Imagen Latent To Image"
    DESCRIPTION = (
        "Decodes any latent, of Stable Diffusion, Flux or DiT, shrinks the picture to what super-resolution takes, and "
        "measures the VAE's error on it, which sets aug_level: the pixels that are drawn then are no VAE's. The latents of "
        "models that draw pixels pass through a pixel_space VAE unchanged."
    )
    CATEGORY = "imagen/image"
    SEARCH_ALIASES = ["vae decode", "latent to pixels", "latent upscale", "decode", "refine latent", "pixel decoder"]
    FUNCTION = "decode"
    RETURN_TYPES = (_sockets.IMAGE, "FLOAT")
    RETURN_NAMES = ("image", "aug_level")
    OUTPUT_TOOLTIPS = (
        "The pictures, for Imagen Super Resolution.",
        "For its aug_level: noise as strong as what the VAE loses of this very picture. 0 for pixel_space.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "latent": (
                    _sockets.LATENT,
                    {"tooltip": "Of KSampler, Imagen Sample Latents or any other node."},
                ),
                "vae": (
                    _sockets.VAE,
                    {
                        "tooltip": "The VAE of the model that drew the latent: Load VAE, Load Checkpoint, Imagen Load VAE."
                    },
                ),
                "low_res_side": (
                    "INT",
                    {
                        "default": 256,
                        "min": 0,
                        "max": 4096,
                        "tooltip": "The picture's longer side is shrunk to this, by area: 256 before an sr1024 stage. 0, or "
                        "a picture that is smaller, leaves it as it is decoded.",
                    },
                ),
                "measure": (
                    "BOOLEAN",
                    {
                        "default": True,
                        "advanced": True,
                        "tooltip": "Whether the picture is encoded and decoded once more, to see what that loses. Off, "
                        "aug_level is 0, and a VAE that cannot encode will do.",
                    },
                ),
            },
            "optional": {
                "unet": (
                    _sockets.UNET,
                    {
                        "tooltip": "The super-resolution stage that aug_level is for, as its schedule says how much noise a "
                        "level is. Without it, imagen-mini's."
                    },
                ),
            },
        }

    def decode(self, latent, vae, low_res_side, measure, unet=None):
        pictures = _host.decoded(vae, latent["samples"])
        side = low_res_side if 0 < low_res_side < max(pictures.shape[-2:]) else 0
        level = 0.0
        if measure:
            trip = _host.round_trip(vae, _host.image_from_core(pictures))
            level = matching_aug_level(*trip, side=side, schedule=unet and unet.schedule)
        return _host.image_from_core(resize_longest_side(pictures, side) if side else pictures), level
