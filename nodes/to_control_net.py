"""ImagenToControlNet: one of our controls as a CONTROL_NET of the host's own."""

from ..imagen_core import CURVES, FITS
from . import _host, _sockets
from .control import AUTO, how_followed


class ImagenToControlNet:
    NEEDS_COMFYUI = True
    DISPLAY_NAME = "Imagen To ControlNet"
    DESCRIPTION = (
        "Makes a control that was trained for an Imagen stage a CONTROL_NET of ComfyUI's own, for Apply ControlNet and "
        "other packs' nodes that take one. It steers the model of Imagen To Model that was made of the same stage."
    )
    CATEGORY = "imagen/native"
    SEARCH_ALIASES = ["apply controlnet", "native controlnet", "controlnet bridge", "control net to comfyui"]
    FUNCTION = "convert"
    RETURN_TYPES = (_sockets.HOST_CONTROL_NET,)
    RETURN_NAMES = ("control_net",)
    OUTPUT_TOOLTIPS = ("For Apply ControlNet, which sets hint, strength and percents; several are chained there.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "control_net": (_sockets.CONTROL_NET, {"tooltip": "From Imagen Load Control."}),
            },
            "optional": how_followed(),
        }

    def convert(self, control_net, mask=None, kind=AUTO, fit=FITS[0], apply_to_null=True, curve=CURVES[0]):
        from ._host import native_control  # ComfyUI's own modules, which other hosts do not have

        made = native_control.without_hint(
            control_net,
            mask=None if mask is None else _host.mask_to_core(mask),
            kind=None if kind == AUTO else kind,
            fit=fit,
            apply_to_null=apply_to_null,
            curve=curve,
        )
        return (made,)
