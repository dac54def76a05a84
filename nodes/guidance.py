"""ImagenGuidance: how the prompt's and the null prompt's predictions are combined."""

from ..imagen_core import GUIDANCE, make_guidance
from . import _method_inputs, _sockets

SHARE = {"min": 0.0, "max": 1.0, "step": 0.01}


# Those that the prompt and the null prompt suffice for; what else a guidance asks for has an input of its own.
METHODS = {name: method for name, method in GUIDANCE.items() if set(method.asks) == {"null"}}
KNOWN = {"scale", "start", "end", "rescale", "eta", "momentum", "norm_threshold"}
METHOD_TIP = (
    "classifier_free: the paper's. apg: adaptive projected guidance, which leaves out the part of the pull that only "
    "raises contrast; good at high scales."
)
WEAK_TIP = (
    "A weaker stage of the same kind, from another Imagen Load U-Net: smaller, or an earlier state of the same training. "
    "Connected, autoguidance is added (arXiv 2406.02507): away from what it draws of the same prompt, which corrects the "
    "mistakes that both make and keeps variety. A step costs one call of it more."
)


class ImagenGuidance:
    DISPLAY_NAME = "Imagen Guidance"
    DESCRIPTION = (
        "How guidance is applied; its strength is the sampler's own guidance_scale. Without this node samplers use plain "
        "classifier-free guidance at every step."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["cfg", "classifier-free guidance", "apg", "rescale cfg", "limited interval", "autoguidance"]
    FUNCTION = "make"
    RETURN_TYPES = (_sockets.GUIDANCE,)
    RETURN_NAMES = ("guidance",)
    OUTPUT_TOOLTIPS = ("The guidance, for a sampler's guidance input.",)

    @classmethod
    def INPUT_TYPES(cls):
        def number(default, tooltip, **limits):
            return ("FLOAT", {"default": default, **SHARE, **limits, "tooltip": tooltip})

        return {
            "required": {
                "method": _method_inputs.method_input(METHODS, "classifier_free", METHOD_TIP),
                "start": number(
                    0.0,
                    "Where guidance begins, as a share of the way from noise (0) to picture (1). 0.1 keeps variety; "
                    "outside the interval a step costs half.",
                ),
                "end": number(1.0, "Where guidance ends. 0.8 saves time at little cost; 1 guides to the end."),
                "rescale": number(
                    0.0, "classifier_free only: pulls the contrast back to the unguided one. 0 is off, 0.7 is usual."
                ),
                "eta": number(
                    0.0,
                    "apg only: how much of the contrast-raising part is kept. 0 drops it, 1 is plain guidance.",
                    advanced=True,
                ),
                "momentum": number(
                    0.0,
                    "apg only: weight of the steps before. -0.5 is the paper's, 0 is off.",
                    advanced=True,
                    min=-0.95,
                    max=0.95,
                ),
                "norm_threshold": number(
                    0.0,
                    "apg only: the longest pull, measured over the whole picture. 0 is no limit; 5 to 15 suit 64x64.",
                    advanced=True,
                    max=1000.0,
                    step=0.5,
                ),
            },
            "optional": {
                "weak": (_sockets.UNET, {"tooltip": WEAK_TIP}),
                "weak_scale": number(
                    2.0,
                    "Only with weak: how far away from it. 1 is off, 1.5 to 3 are usual. guidance_scale stays the "
                    "prompt's own pull; at 1 autoguidance works alone.",
                    min=1.0,
                    max=10.0,
                    step=0.05,
                ),
                **_method_inputs.further_inputs(METHODS, KNOWN),
            },
        }

    def make(self, method, start, end, rescale, eta, momentum, norm_threshold, weak=None, weak_scale=2.0, **further):
        values = {"start": start, "end": end, "rescale": rescale, "eta": eta, "momentum": momentum}
        values |= {"norm_threshold": norm_threshold, **further}
        chosen = make_guidance(method, scale=1.0, **_method_inputs.settings_for(METHODS[method], values))
        if weak is None:
            return (chosen,)
        return ((chosen, make_guidance("autoguidance", scale=weak_scale, start=start, end=end, weak=weak)),)
