"""ImagenLoadTextEncoder: a frozen T5 from a folder."""

from pathlib import Path

from ..imagen_core import T5TextEncoder
from . import _host, _sockets


def _is_text_encoder(folder: Path) -> bool:
    has_tokenizer = any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model"))
    return has_tokenizer and (folder / "config.json").is_file()


class ImagenLoadTextEncoder:
    DISPLAY_NAME = "Imagen Load Text Encoder"
    DESCRIPTION = (
        "Loads the frozen T5 that reads prompts. A U-Net understands only the text encoder it was trained with: "
        "imagen-mini's stages belong to imagen-mini/text_encoder."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["t5", "clip loader", "text encoder", "load t5"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.TEXT_ENCODER,)
    RETURN_NAMES = ("text_encoder",)
    OUTPUT_TOOLTIPS = ("The text encoder, for Imagen Text Encode.",)

    @classmethod
    def INPUT_TYPES(cls):
        names = [Path(name).parent.as_posix() for name in _host.model_names(_is_config, "config.json")]
        return {
            "required": {
                "text_encoder": (
                    names,
                    {
                        "tooltip": "A folder with config.json, the weights and the tokenizer, under models/imagen or in "
                        "the pack's own models folder. imagen-mini/text_encoder ships with the pack."
                    },
                )
            }
        }

    @classmethod
    def IS_CHANGED(cls, text_encoder):
        return _host.fingerprint(text_encoder)

    def load(self, text_encoder):
        return (_host.managed(T5TextEncoder.from_folder(_host.model_path(text_encoder), device=_host.device())),)


def _is_config(path: Path) -> bool:
    return _is_text_encoder(path.parent)
