"""ImagenTrainLoRA: a few pictures teach a stage something new."""

from ..imagen_core import LoraSettings, draw_class, fit, fit_lora, save_lora, typed_prompt, with_lora
from . import _host, _sockets


class ImagenTrainLoRA:
    DISPLAY_NAME = "Imagen Train LoRA"
    DESCRIPTION = (
        "Teaches a stage a thing or a style from a few captioned pictures, in minutes on a CPU for imagen-mini. Only a "
        "small change beside the weights learns; it is saved among your LoRAs and comes out applied. Stop it like any run: "
        "nothing is written then. For hundreds of pictures train a stage of your own (docs/training.md)."
    )
    CATEGORY = "imagen/training"
    SEARCH_ALIASES = [
        "lora",
        "dreambooth",
        "prior preservation",
        "fine-tune",
        "finetune",
        "train lora",
        "teach",
        "personalize",
    ]
    FUNCTION = "train"
    OUTPUT_NODE = True
    RETURN_TYPES = (_sockets.UNET, "STRING")
    RETURN_NAMES = ("unet", "lora_name")
    OUTPUT_TOOLTIPS = (
        "The stage with what was learned, at strength 1.",
        "The file's name, for Imagen Load LoRA or ComfyUI's LoRA loader.",
    )

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "unet": (_sockets.UNET, {"tooltip": "A stage that draws from text (things64, DeepFloyd IF I)."}),
                "text_encoder": (
                    _sockets.TEXT_ENCODER,
                    {"tooltip": "The encoder that the stage was trained with, from Imagen Load Text Encoder."},
                ),
                "images": (
                    _sockets.IMAGE,
                    {"tooltip": "Five to thirty pictures, as a batch. Each is cut about its centre to a square."},
                ),
                "captions": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "a photo of my cat",
                        "tooltip": "What the pictures show: a line for each, in their order, or one line for all of them. "
                        "Use words that the text encoder knows, the same ones that you will prompt with.",
                    },
                ),
                "name": (
                    "STRING",
                    {"default": "my-lora", "tooltip": "The file's name. One that is taken gets a number."},
                ),
                "steps": (
                    "INT",
                    {
                        "default": 300,
                        "min": 1,
                        "max": 100_000,
                        "tooltip": "How long it learns. Too few changes little, too many learns the pictures by heart.",
                    },
                ),
                "rank": (
                    "INT",
                    {
                        "default": 8,
                        "min": 1,
                        "max": 128,
                        "tooltip": "How large the change may be. 4 to 8 for one thing, 16 and more for a style.",
                    },
                ),
                "learning_rate": (
                    "FLOAT",
                    {
                        "default": 0.001,
                        "min": 0.000001,
                        "max": 0.1,
                        "step": 0.0001,
                        "round": 0.000001,
                        "tooltip": "How fast it learns. 0.001 suits imagen-mini, 0.0001 DeepFloyd IF.",
                    },
                ),
                "seed": (
                    "INT",
                    {
                        "default": 0,
                        "min": 0,
                        "max": 2**53 - 1,
                        "control_after_generate": True,
                        "tooltip": "The same seed learns the same change.",
                    },
                ),
            },
            "optional": {
                "batch_size": (
                    "INT",
                    {"default": 4, "min": 1, "max": 64, "advanced": True, "tooltip": "Pictures a step."},
                ),
                "side": (
                    "INT",
                    {
                        "default": 64,
                        "min": 16,
                        "max": 1024,
                        "step": 4,
                        "advanced": True,
                        "tooltip": "To which size pictures are brought: the one that the stage draws at.",
                    },
                ),
                "targets": (
                    ["all", "linear"],
                    {
                        "default": "all",
                        "advanced": True,
                        "tooltip": "What changes. all: attention and convolutions, learns looks. linear: attention and its "
                        "like alone, smaller and faster.",
                    },
                ),
                "flip": (
                    "BOOLEAN",
                    {
                        "default": False,
                        "advanced": True,
                        "tooltip": "Mirror half of the pictures. Off where left and right, or writing, matter.",
                    },
                ),
                "class_prompts": (
                    "STRING",
                    {
                        "multiline": True,
                        "default": "",
                        "tooltip": "What shall be drawn as before, a prompt a line: things of the same kind as yours "
                        "(DreamBooth's prior preservation). The stage draws class_images of them first, and learns them "
                        "beside your pictures, which doubles the time. Empty: whatever it draws then leans towards yours.",
                    },
                ),
                "class_images": (
                    "INT",
                    {
                        "default": 100,
                        "min": 1,
                        "max": 10_000,
                        "advanced": True,
                        "tooltip": "How many pictures of the class prompts are drawn first.",
                    },
                ),
                "prior_loss_weight": (
                    "FLOAT",
                    {
                        "default": 1.0,
                        "min": 0.0,
                        "max": 10.0,
                        "step": 0.1,
                        "advanced": True,
                        "tooltip": "What class pictures count beside yours. More keeps more, and teaches less.",
                    },
                ),
            },
        }

    def train(
        self, unet, text_encoder, images, captions, name, steps, rank, learning_rate, seed,
        batch_size=4, side=64, targets="all", flip=False, class_prompts="", class_images=100, prior_loss_weight=1.0,
    ):  # fmt: skip
        settings = LoraSettings(
            rank=rank,
            steps=steps,
            learning_rate=learning_rate,
            batch_size=batch_size,
            targets=targets,
            flip=flip,
            seed=seed,
            prior_loss_weight=prior_loss_weight,
        )
        path = _host.new_lora_path(name)
        pictures = fit(_host.image_to_core(images), (side, side))
        prompts = [unet.read(typed_prompt(text_encoder, text)) for text in _one_each(captions, len(pictures))]
        kept = [unet.read(typed_prompt(text_encoder, text)) for text in _lines(class_prompts)]
        at_once = 8 * batch_size if kept else 4 * batch_size  # what a way back keeps
        base = _host.loaded(unet, pictures=at_once, height=side, width=side)
        prior = None
        if kept:
            prior = draw_class(base, kept, class_images, side=side, seed=seed, callback=_host.step_reporter(steps))
        lora = fit_lora(base, pictures, prompts, settings, _host.training_reporter(steps), prior)
        save_lora(path, lora)
        return (_host.managed(with_lora(unet, lora, device=_host.load_device())), path.name)


def _one_each(captions: str, count: int) -> list[str]:
    """A caption for each picture from lines of text. Raises ValueError for another number of lines."""
    lines = _lines(captions)
    if len(lines) not in (1, count):
        raise ValueError(f"{len(lines)} captions for {count} pictures: write a line for each picture, or one for all")
    return lines * count if len(lines) == 1 else lines


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
