"""ImagenLoadControl: a ControlNet, T2I-Adapter, image prompt or identity that was trained for one of our stages."""

from ..imagen_core import find_adapters, load_adapter
from . import _host, _sockets


class ImagenLoadControl:
    DISPLAY_NAME = "Imagen Load Control"
    DESCRIPTION = (
        "Loads a control: a network that makes a stage follow a hint, such as edges or a palette. The file says itself "
        "whether it is a ControlNet, a T2I-Adapter, an image prompt or an identity, which hints it reads and which stage it "
        "belongs to. That of things64 ships; imagen train control or adapter makes one for another stage."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["controlnet loader", "load controlnet model", "t2i-adapter", "control net", "ipadapter loader"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.CONTROL_NET,)
    RETURN_NAMES = ("control_net",)
    OUTPUT_TOOLTIPS = (
        "The control, for Imagen Control; an image prompt, for Imagen Image Prompt; an identity, for Imagen Identity.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        tip = (
            "A .safetensors that imagen train control, adapter, image_prompt or identity wrote, under models/imagen, "
            "models/controlnet or in the pack's own models folder. Those of Stable Diffusion and other models fit no "
            "stage of ours."
        )
        return {"required": {"control_net_name": (_host.control_names(find_adapters), {"tooltip": tip})}}

    @classmethod
    def IS_CHANGED(cls, control_net_name):
        return _host.fingerprint(control_net_name, *_host.CONTROL_KINDS)

    def load(self, control_net_name):
        path = _host.model_path(control_net_name, *_host.CONTROL_KINDS)
        return (_host.managed(load_adapter(path, device=_host.load_device(), dtype=_host.unet_dtype())),)
