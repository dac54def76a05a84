"""ImagenSampler: a sampler with settings of its own."""

from ..imagen_core import SAMPLERS
from . import _method_inputs, _sampling_inputs, _sockets

KNOWN = {"eta", "gamma", "fixed"}
RESPACING_TIP = (
    "Improved DDPM's respacing, for checkpoints with timesteps (DeepFloyd IF, ADM, DiT): the timesteps are cut into as many "
    "equal sections as there are numbers, and each number is how many of its section are called, from clean to noisy: "
    "10,10,3,2,2. One number alone is spread evenly: 250. In brackets the very timesteps, from noisy to clean: "
    "[999, 700, 400, 100]. Empty: the sampling node's own spacing and steps."
)
GAMMA_TIP = (
    "ddpm only: the variance of a step. 0 is the posterior's (fixed small), 1 is beta's (fixed large), between them in "
    "proportion of the logarithm."
)


class ImagenSampler:
    DISPLAY_NAME = "Imagen Sampler"
    DESCRIPTION = (
        "A sampler with settings of its own: how much fresh noise DDIM adds, which variance DDPM takes, and any list of "
        "timesteps. It takes the place of the one chosen in the sampling node."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["ksampler select", "custom sampler", "eta", "respacing", "timestep respacing", "fixed large"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.SAMPLER,)
    RETURN_NAMES = ("sampler",)
    OUTPUT_TOOLTIPS = ("The sampler, for a sampling node's sampler_options.",)

    @classmethod
    def INPUT_TYPES(cls):
        def share(tooltip):
            return ("FLOAT", {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": tooltip})

        return {
            "required": {
                "method": _method_inputs.method_input(SAMPLERS, "ddim", _sampling_inputs.SAMPLER_TIP),
                "eta": share(
                    "ddim and dpmpp_2m_sde: how much fresh noise enters a step. ddim: 0 is deterministic, 1 has DDPM's "
                    "variance; dpmpp_2m_sde: 1 is the whole of it."
                ),
                "gamma": share(GAMMA_TIP),
                "fixed": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "tooltip": "ddpm only: take gamma also where the network has learned its variance (DeepFloyd IF, "
                        "ADM, DiT), which otherwise comes first.",
                    },
                ),
                "respacing": ("STRING", {"default": "", "tooltip": RESPACING_TIP}),
            },
            "optional": _method_inputs.further_inputs(SAMPLERS, KNOWN),
        }

    def make(self, method, eta, gamma, fixed, respacing, **further):
        values = {"eta": eta, "gamma": gamma, "fixed": fixed, **further}
        sampler = SAMPLERS[method](**_method_inputs.settings_for(SAMPLERS[method], values))
        return ((sampler, respacing.strip() or None),)
