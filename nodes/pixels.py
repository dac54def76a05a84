"""ImagenEmptyPixels, ImagenImageToPixels, ImagenPixelsToImage: what stands for latents where a model draws pixels."""

from . import _host, _sockets


class ImagenEmptyPixels:
    NEEDS_COMFYUI = True
    DISPLAY_NAME = "Imagen Empty Pixels"
    DESCRIPTION = (
        "An empty latent of three channels, for a model that draws pixels: Imagen To Model, Chroma Radiance. Its size is "
        "the picture's, not an eighth of it."
    )
    CATEGORY = "imagen/native"
    SEARCH_ALIASES = ["empty latent", "pixel latent", "empty latent image"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.LATENT,)
    RETURN_NAMES = ("pixels",)
    OUTPUT_TOOLTIPS = ("For KSampler's latent_image.",)

    @classmethod
    def INPUT_TYPES(cls):
        side = {"default": 64, "min": 1, "max": 4096, "step": 1}
        tip = "In pixels: 64 for things64, 256 for sr256, 1024 for sr1024."
        return {
            "required": {
                "width": ("INT", {**side, "tooltip": tip}),
                "height": ("INT", {**side, "tooltip": tip}),
                "batch_size": (
                    "INT",
                    {"default": 1, "min": 1, "max": 64, "tooltip": "How many pictures are drawn at once."},
                ),
            }
        }

    def make(self, width, height, batch_size):
        return (_host.empty_latent(batch_size, height, width),)


class ImagenImageToPixels:
    NEEDS_COMFYUI = True
    DISPLAY_NAME = "Imagen Image To Pixels"
    DESCRIPTION = (
        "A picture as the latent of a model that draws pixels, for KSampler with denoise below 1 or with a mask (Set Latent "
        "Noise Mask). Nothing is encoded: 0..1 becomes -1..1."
    )
    CATEGORY = "imagen/native"
    SEARCH_ALIASES = ["vae encode", "image to latent", "pixel latent", "img2img"]
    FUNCTION = "convert"
    RETURN_TYPES = (_sockets.LATENT,)
    RETURN_NAMES = ("pixels",)
    OUTPUT_TOOLTIPS = ("For KSampler's latent_image.",)

    @classmethod
    def INPUT_TYPES(cls):
        tip = "Any picture, at the size that the stage draws: 64x64 for things64. Alpha is dropped."
        return {"required": {"image": (_sockets.IMAGE, {"tooltip": tip})}}

    def convert(self, image):
        return (_host.latent_from_image(image),)


class ImagenPixelsToImage:
    NEEDS_COMFYUI = True
    DISPLAY_NAME = "Imagen Pixels To Image"
    DESCRIPTION = (
        "The pictures in the latent of a model that draws pixels. Nothing is decoded: -1..1 becomes 0..1, and what lies "
        "outside is clipped."
    )
    CATEGORY = "imagen/native"
    SEARCH_ALIASES = ["vae decode", "latent to image", "pixel latent"]
    FUNCTION = "convert"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The pictures, for Save Image or Imagen Super Resolution.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"pixels": (_sockets.LATENT, {"tooltip": "KSampler's output, of an Imagen model."})}}

    def convert(self, pixels):
        return (_host.image_from_latent(pixels),)
