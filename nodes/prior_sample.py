"""ImagenPriorSample: a prompt becomes the CLIP embedding that a picture of it would have."""

from ..imagen_core import SAMPLERS, Draw, make_guidance, sample_prior
from . import _host, _sampling_inputs, _sockets

SCALE_TIP = "How strongly the prompt pulls; 1 is off. It is the prior's own, apart from the decoder's."
CANDIDATES_TIP = (
    "How many embeddings are drawn for each picture, of which the one is kept that lies nearest to the prompt's own. 2 as "
    "in DALL-E 2; 1 is Karlo's way, and what its own programs draw."
)


class ImagenPriorSample:
    DISPLAY_NAME = "Imagen Prior Sample"
    DESCRIPTION = (
        "Draws, from a prompt, CLIP embeddings of pictures that do not exist yet: what is to be seen, before a decoder "
        "draws how. Connect them to Imagen unCLIP Conditioning; mix or move them on the way with Imagen Mix Embeds."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["karlo", "unclip", "dall-e 2", "prior", "text to image embedding", "diffusion prior"]
    FUNCTION = "sample"
    RETURN_TYPES = (_sockets.IMAGE_EMBED,)
    RETURN_NAMES = ("image_embed",)
    OUTPUT_TOOLTIPS = ("One embedding a picture, for Imagen unCLIP Conditioning.",)

    @classmethod
    def INPUT_TYPES(cls):
        names = sorted(SAMPLERS, key=lambda name: (name != "ddpm", name))
        count = {"min": 1, "max": 16}
        steps_tip = "How often the prior is called. 25 as published; the prompt itself is read once."
        sampler_tip = "ddpm: as published. The others draw other embeddings, dpmpp_2m good ones in 10 steps."
        return {
            "required": {
                "prior": (_sockets.PRIOR, {"tooltip": "From Imagen Load Prior."}),
                "text": (
                    _sockets.TEXT,
                    {
                        "tooltip": "The prompt, from Imagen Text Encode with the prior's own text encoder: CLIP ViT-L/14."
                    },
                ),
                "seed": _sampling_inputs.seed_input(),
                "steps": ("INT", {"default": 25, "min": 1, "max": 1000, "tooltip": steps_tip}),
                "guidance_scale": _sampling_inputs.guidance_scale_input(4.0, SCALE_TIP),
                "candidates": ("INT", {"default": 2, **count, "tooltip": CANDIDATES_TIP}),
                "batch_size": _sampling_inputs.batch_size_input(),
            },
            "optional": {"sampler": (names, {"default": "ddpm", "advanced": True, "tooltip": sampler_tip})},
        }

    def sample(self, prior, text, seed, steps, guidance_scale, candidates, batch_size, sampler="ddpm"):
        draw = Draw(
            seeds=range(seed, seed + batch_size),
            steps=steps,
            sampler=SAMPLERS[sampler](),
            guidance=make_guidance(scale=guidance_scale),
            callback=_host.step_reporter(steps),
        )
        asked = prior.read(text)  # first: a text encoder that came to the device later would send the prior away again
        with _host.computing(prior, batch_size * candidates):
            return (sample_prior(prior, asked, draw, candidates=candidates),)
