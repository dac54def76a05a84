"""ImagenVAELoss: where and how much a picture loses on its way through a VAE and back."""

from ..imagen_core import heat_map, matching_aug_level, measure_round_trip, round_trip_report
from . import _host, _sockets


class ImagenVAELoss:
    DISPLAY_NAME = "Imagen VAE Loss"
    DESCRIPTION = (
        "Sends a picture through any VAE and back and says what is lost: a map of where, PSNR, edges, and the error in each "
        "band of frequencies; and the aug_level at which super-resolution mistrusts its picture as much as it should."
    )
    CATEGORY = "imagen/image"
    SEARCH_ALIASES = [
        "vae loss",
        "vae quality",
        "round trip",
        "reconstruction error",
        "psnr",
        "heat map",
        "compare vae",
    ]
    FUNCTION = "measure"
    RETURN_TYPES = (_sockets.IMAGE, _sockets.IMAGE, "STRING", "FLOAT", "FLOAT")
    RETURN_NAMES = ("map", "image", "report", "psnr", "aug_level")
    OUTPUT_TOOLTIPS = (
        "Where it is lost: black is nothing, then red, yellow and white.",
        "The pictures as they came back.",
        "All figures, one picture after the other; for Preview Any. It is printed as well.",
        "Of the worst picture, in dB: above 35 hardly to be seen, below 25 plainly. 99 where nothing is lost.",
        "For aug_level of Imagen Super Resolution, when it enlarges a picture of this VAE. One for the batch.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "vae": (_sockets.VAE, {"tooltip": "Any VAE of pictures, or of videos: Load VAE, Imagen Load VAE."}),
                "image": (
                    _sockets.IMAGE,
                    {"tooltip": "The pictures to lose something of. Sides are cut to what the VAE can take."},
                ),
                "low_res_side": (
                    "INT",
                    {
                        "default": 256,
                        "min": 0,
                        "max": 4096,
                        "tooltip": "For aug_level: the longer side of the picture that Imagen Super Resolution will be "
                        "given. 256 before an sr1024 stage. Shrinking averages fine errors out. 0: as large as it comes.",
                    },
                ),
                "white_at": (
                    "FLOAT",
                    {
                        "default": 0.1,
                        "min": 0.001,
                        "max": 1.0,
                        "step": 0.001,
                        "advanced": True,
                        "tooltip": "The error that the map shows as white, as a share of the way from black to white.",
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

    def measure(self, vae, image, low_res_side, white_at, unet=None):
        before, after = _host.round_trip(vae, image)
        found = measure_round_trip(before, after)
        level = matching_aug_level(before, after, side=low_res_side, schedule=unet and unet.schedule)
        report = round_trip_report(found, level)
        print(f"Imagen VAE Loss: {report}")
        shown = _host.image_from_core(heat_map(found.error, 2.0 * white_at))
        return shown, _host.image_from_core(after), report, min(99.0, float(found.psnr.min())), level
