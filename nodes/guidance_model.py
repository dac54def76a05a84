"""ImagenGuidanceModel: guidance in a limited interval, and its rescale, for any MODEL of the host."""

from . import _sockets
from ._model_inputs import model_input, share_input


class ImagenGuidanceModel:
    NEEDS_COMFYUI = True
    DISPLAY_NAME = "Imagen Guidance Model"
    DESCRIPTION = (
        "Limits cfg to a part of the way from noise to picture, and pulls its contrast back, for any model. Outside the "
        "interval a step runs as at cfg 1: half the time, and more variety (arXiv 2404.07724). For adaptive projected "
        "guidance use ComfyUI's own node of that name; both may be chained, and Imagen Threshold Model after them."
    )
    CATEGORY = "imagen/patches"
    SEARCH_ALIASES = ["limited interval", "cfg interval", "skip cfg", "rescale cfg", "guidance interval", "apg"]
    FUNCTION = "patch"
    RETURN_TYPES = (_sockets.MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The same model, guided as chosen. Its weights are not copied.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": model_input("Any model: from a checkpoint loader, after LoRAs, or from Imagen To Model."),
                "start": share_input(
                    0.1,
                    "Where cfg begins, on the way from noise (0) to picture (1). 0.1 to 0.2 keeps variety: the first "
                    "steps decide the composition. 0 guides from the first step.",
                ),
                "end": share_input(0.8, "Where cfg ends. After 0.8 it changes little and costs half of every step."),
                "rescale": share_input(
                    0.0,
                    "How far the contrast of the guided prediction is pulled back to the unguided one's (arXiv 2305.08891, "
                    "on x_0, so that it suits flow models too). 0 is off, 0.7 is usual for models with burned colours.",
                ),
            }
        }

    def patch(self, model, start, end, rescale):
        from ._host import patches  # ComfyUI's own modules, which other hosts do not have

        return (patches.with_guidance(model, start=start, end=end, rescale=rescale),)
