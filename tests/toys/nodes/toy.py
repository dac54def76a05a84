"""ImagenToy: a node that is a file in a folder, and nothing else."""


class ImagenToy:
    DISPLAY_NAME = "Imagen Toy"
    DESCRIPTION = "Gives back the number that it is given, to show that a node is one new file."
    CATEGORY = "imagen/toys"
    SEARCH_ALIASES = ["toy"]
    FUNCTION = "run"
    RETURN_TYPES = ("INT",)
    RETURN_NAMES = ("number",)
    OUTPUT_TOOLTIPS = ("The same number.",)

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"number": ("INT", {"default": 1, "min": 0, "max": 9, "tooltip": "Any number."})}}

    def run(self, number):
        return (number,)
