"""ImagenLoadTextEncoder: a frozen T5, BERT or other encoder from a folder or a single file."""

from ..imagen_core import find_text_encoders, load_text_encoder
from . import _host, _sockets

DEFAULT = "imagen-mini/things_text_encoder"


class ImagenLoadTextEncoder:
    DISPLAY_NAME = "Imagen Load Text Encoder"
    DESCRIPTION = (
        "Loads the frozen text encoder that reads prompts: a T5, a BERT, a CLIP's text tower, or another encoder that "
        "transformers knows, or GLIDE's vocabulary. A U-Net understands only the one it was trained with: "
        "imagen-mini's things64 belongs to imagen-mini/things_text_encoder, "
        "GLIDE to glide/text_encoder, DeepFloyd IF to T5-XXL, which Flux and SD3 users have as t5xxl_fp16, "
        "t5xxl_fp8_e4m3fn or a .gguf."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["t5", "t5xxl", "bert", "minilm", "clip loader", "clip_l", "text encoder", "load t5", "gguf"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.TEXT_ENCODER,)
    RETURN_NAMES = ("text_encoder",)
    OUTPUT_TOOLTIPS = ("The text encoder, for Imagen Text Encode.",)

    @classmethod
    def INPUT_TYPES(cls):
        names = _host.text_encoder_names(find_text_encoders)
        return {
            "required": {
                "text_encoder": (
                    names,
                    {
                        **({"default": DEFAULT} if DEFAULT in names else {}),
                        "tooltip": "A T5, BERT or CLIP folder, or a T5 or CLIP as one file (.safetensors, .gguf), under "
                        "models/imagen, models/text_encoders, models/diffusers or in the pack's own models folder. "
                        "imagen-mini/things_text_encoder ships with the pack; so does glide/text_encoder.",
                    },
                )
            },
            "optional": {
                "weights": (
                    ["auto", "disk", "memory"],
                    {
                        "default": "auto",
                        "advanced": True,
                        "tooltip": "Where weights are between prompts. disk: each prompt reads the file, one weight at a "
                        "time: least memory, nothing to free before sampling. memory: kept as the file holds them, for "
                        "many prompts in a row. auto: disk for files above 1 GB.",
                    },
                ),
                "prompt_cache": (
                    ["auto", "on", "off"],
                    {
                        "default": "auto",
                        "advanced": True,
                        "tooltip": "Whether encoded prompts are kept on the disk, so that a known prompt reads no weight "
                        "at all, today or tomorrow. auto: for files above 1 GB. `imagen cache` lists and clears them.",
                    },
                ),
            },
        }

    @classmethod
    def IS_CHANGED(cls, text_encoder, weights="auto", prompt_cache="auto"):
        return _host.fingerprint(text_encoder, *_host.TEXT_KINDS)

    def load(self, text_encoder, weights="auto", prompt_cache="auto"):
        encoder = load_text_encoder(
            _host.model_path(text_encoder, *_host.TEXT_KINDS),
            tokenizer_places=_host.tokenizer_places(),
            device=_host.device(),
            keep=weights,
            prompt_cache=prompt_cache,
            on_layer=_host.layer_reporter(),
        )
        return (_host.managed(encoder),)
