"""ImagenInterpolate: a row of pictures between two, along the arcs of their embeddings and noises."""

from ..imagen_core import Draw, End, interpolate, make_guidance
from . import _host, _sampling_inputs, _sockets

PICTURE_TIP = (
    "The picture that the {end} embedding is of, as large as the decoder draws (64x64 for Karlo): the row {verb} with it, "
    "redrawn from its own noise (DDIM inversion), in place of the seed's."
)


class ImagenInterpolate:
    DISPLAY_NAME = "Imagen Interpolate"
    DESCRIPTION = (
        "Draws the pictures between two (DALL-E 2, section 3.2): the embedding of what is to be seen and the noise that it "
        "is drawn from both go along an arc from the one to the other, by DDIM."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["slerp", "morph", "walk", "latent walk", "interpolation", "unclip", "karlo", "dall-e 2"]
    FUNCTION = "draw"
    RETURN_TYPES = (_sockets.IMAGE,)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The row of pictures, from the first to the last.",)

    @classmethod
    def INPUT_TYPES(cls):
        scale_tip = "How strongly embedding and prompt pull. Karlo takes 8, and 1 to 3 where a picture shall come back."
        steps_tip = "Calls of the network; a picture's inversion takes four times as many besides."
        last_seed = {"default": 1, "min": 0, "max": 2**53 - 1}
        frames = {"default": 5, "min": 2, "max": 64, "tooltip": "How many pictures, both ends counted."}
        return {
            "required": {
                "unet": (_sockets.UNET, {"tooltip": "A decoder such as Karlo's, from Imagen Load U-Net."}),
                "text": (
                    _sockets.TEXT,
                    {"tooltip": "The prompt for all of them, from Imagen Text Encode; often empty."},
                ),
                "first": (_sockets.IMAGE_EMBED, {"tooltip": "What the first picture shows: one embedding."}),
                "last": (_sockets.IMAGE_EMBED, {"tooltip": "What the last picture shows: one embedding."}),
                "frames": ("INT", frames),
                "seed": _sampling_inputs.seed_input(),
                "last_seed": (
                    "INT",
                    {**last_seed, "tooltip": "The noise of the last picture; the same as seed for one noise."},
                ),
                "steps": ("INT", {"default": 50, "min": 1, "max": 1000, "tooltip": steps_tip}),
                "guidance_scale": _sampling_inputs.guidance_scale_input(8.0, scale_tip),
            },
            "optional": {
                "first_image": (_sockets.IMAGE, {"tooltip": PICTURE_TIP.format(end="first", verb="begins")}),
                "last_image": (_sockets.IMAGE, {"tooltip": PICTURE_TIP.format(end="last", verb="ends")}),
            },
        }

    def draw(
        self, unet, text, first, last, frames, seed, last_seed, steps, guidance_scale, first_image=None, last_image=None
    ):
        pictures = [None if image is None else _host.image_to_core(image) for image in (first_image, last_image)]
        parts = zip((first, last), (seed, last_seed), pictures, strict=True)
        ends = tuple(End(embed=embed, seed=each, picture=picture) for embed, each, picture in parts)
        draw = Draw(
            seeds=range(frames),
            steps=steps,
            guidance=make_guidance(scale=guidance_scale),
            callback=_host.step_reporter(steps),
        )
        side = unet.spec.native_side
        unet = _sampling_inputs.loaded(unet, [text], draw, side, side)
        return (_host.image_from_core(interpolate(unet, text, ends, frames, draw)),)
