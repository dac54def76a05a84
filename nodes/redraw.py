"""ImagenRedraw: the noise that a picture would have come from, drawn again under another prompt."""

from ..imagen_core import Draw, invert, make_guidance, sample_base
from . import _host, _sampling_inputs, _sockets

NEW_TIP = (
    "What it shall show instead, from another Imagen Text Encode. The more of its words are those of text, the more stays "
    "where it is. The same prompt gives the picture back."
)
STEPS_TIP = (
    "Calls of the network each way; a picture takes three times as many (back, there again, and under the new prompt). 50 "
    "hardly suffice, 100 and more come back closer."
)


class ImagenRedraw:
    DISPLAY_NAME = "Imagen Redraw"
    DESCRIPTION = (
        "Turns a picture into the noise that DDIM would have drawn it from (inversion), then draws that noise under another "
        "prompt: what both prompts say alike stays in its place. Says how well the picture comes back under its own prompt."
    )
    CATEGORY = "imagen/sampling"
    SEARCH_ALIASES = ["ddim inversion", "invert", "unsampler", "edit by prompt", "prompt to prompt", "img2img"]
    FUNCTION = "redraw"
    RETURN_TYPES = (_sockets.IMAGE, _sockets.IMAGE, "STRING")
    RETURN_NAMES = ("image", "round_trip", "report")
    OUTPUT_TOOLTIPS = (
        "The pictures under the new prompt.",
        "The pictures as they come back under their own prompt, without guidance.",
        "How close they come back: PSNR in dB, one line a picture. Below 25 the redrawn one will differ in more than asked.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        scale_tip = (
            "Pull of the new prompt on the way to the picture; 1 keeps closest to the old one, 2 to 4 change more."
        )
        return {
            "required": {
                "unet": (_sockets.UNET, {"tooltip": "A base stage, from Imagen Load U-Net."}),
                "image": (
                    _sockets.IMAGE,
                    {
                        "tooltip": "The picture, of the size that the stage draws: 64x64 for things64. See Imagen Resize."
                    },
                ),
                "text": (_sockets.TEXT, {"tooltip": "What the picture shows, from Imagen Text Encode."}),
                "new_text": (_sockets.TEXT, {"tooltip": NEW_TIP}),
                "steps": ("INT", {"default": 100, "min": 1, "max": 1000, "tooltip": STEPS_TIP}),
                "guidance_scale": _sampling_inputs.guidance_scale_input(2.0, scale_tip),
            },
            "optional": {
                "threshold": (
                    _sockets.THRESHOLD,
                    {"tooltip": "From Imagen Threshold. Without it, what the checkpoint asks for; none inverts best."},
                ),
            },
        }

    def redraw(self, unet, image, text, new_text, steps, guidance_scale, threshold=None):
        pictures = _host.image_to_core(image)
        height, width = pictures.shape[-2:]
        draw = Draw(
            seeds=range(len(pictures)),
            steps=steps,
            sampler=_sampling_inputs.SAMPLERS["ddim"](),
            guidance=make_guidance(scale=guidance_scale),
            thresholding=threshold,
            callback=_host.step_reporter(2 * steps),
        )
        unet = _sampling_inputs.loaded(unet, [text, new_text], draw, height, width)
        back = invert(unet, text, pictures, draw)
        again = draw.from_noise(back.x_T, _host.step_reporter(steps))
        drawn = sample_base(unet, new_text, again, height=height, width=width)
        report = "\n".join(f"picture {i}: comes back with {psnr:.1f} dB" for i, psnr in enumerate(back.psnr.tolist()))
        print(f"Imagen Redraw, {steps} steps: {report}")
        return _host.image_from_core(drawn), _host.image_from_core(back.redrawn), report
