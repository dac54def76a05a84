"""ImagenExamplePicture: a picture to try a graph with, on a machine whose input folder is still empty."""

from . import _host, _sockets


class ImagenExamplePicture:
    DISPLAY_NAME = "Imagen Example Picture"
    DESCRIPTION = (
        "A picture to try a graph with: those under imagen-nodes/ come with this pack, the others lie in your input folder. "
        "To upload a picture or to paint a mask, put Load Image in its place: it has the same two outputs."
    )
    CATEGORY = "imagen/image"
    SEARCH_ALIASES = ["load image", "sample picture", "test image", "demo picture", "example image"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.IMAGE, _sockets.MASK)
    RETURN_NAMES = ("image", "mask")
    OUTPUT_TOOLTIPS = ("The picture.", "1 where the picture is transparent.")

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "image": (
                    _host.picture_names(),
                    {
                        "tooltip": "imagen-nodes/...: a picture of this pack. Below these: the files in your input folder."
                    },
                )
            }
        }

    @classmethod
    def IS_CHANGED(cls, image):
        return _host.picture_fingerprint(image)

    @classmethod
    def VALIDATE_INPUTS(cls, image):
        return (image and _host.problem_with_picture(image)) or True  # None: it comes by a link

    def load(self, image):
        return _host.load_picture(image)
