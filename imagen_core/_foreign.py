"""What is a file of weights that is none of ours called? Told from its keys and shapes, never from its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

Shapes = Mapping[str, tuple[int, ...]]

_ADAPTERS = (  # what is added to another model comes first: its keys hold that model's
    (
        "a LoRA",
        r"\.lora_[AB]\.|\.lora_(?:up|down)\.|^lora_(?:unet|te)|\.hada_w1|\.lokr_w|\.dora_scale|\.lora\.(?:up|down)\.",
    ),
    (
        "a ControlNet",
        r"^control_model\.|^controlnet_|\.?controlnet_cond_embedding|^input_hint_block|^control_blocks?\.",
    ),
    ("an IP-Adapter", r"^ip_adapter\.|^image_proj\.|\.to_k_ip\."),
    ("a T2I-Adapter", r"^adapter\.body\.|^body\.\d+\.(?:block1|in_conv|resnets)"),
    ("a motion module", r"motion_modules?\."),
    ("a textual inversion", r"^emb_params$|^string_to_param|^clip_[gl]$"),
    ("a safety checker", r"^(?:p_head|w_head)\.weight$|^concept_embeds$"),
)
_NETWORKS = (
    ("a Chroma transformer", r"distilled_guidance_layer\."),
    ("a HunyuanVideo transformer", r"txt_in\.individual_token_refiner\.|context_embedder\.token_refiner\."),
    ("a Flux transformer", r"(?:^|\.)double_blocks\.\d+\.img_attn|(?:^|\.)single_transformer_blocks\."),
    ("an AuraFlow transformer", r"joint_transformer_blocks\.|double_layers\.\d+\."),
    ("a Stable Diffusion 3 transformer", r"joint_blocks\.\d+\.|transformer_blocks\.\d+\.attn\.add_q_proj"),
    ("a Qwen-Image transformer", r"transformer_blocks\.\d+\.(?:img|txt)_mlp\."),
    ("a Wan transformer", r"(?:^|\.)blocks\.\d+\.cross_attn\.k\.|(?:^|\.)blocks\.\d+\.modulation"),
    ("a Lumina or Z-Image transformer", r"(?:^|\.)(?:cap_embedder|context_refiner|noise_refiner)\."),
    ("an LTX-Video transformer", r"(?:^|\.)patchify_proj\."),
    ("a PixArt transformer", r"adaln_single\.|y_embedder\.y_proj|caption_projection\."),
    ("a Stable Cascade stage", r"clip_txt_mapper|clip_txt_pooled_mapper|effnet_mapper"),
)
_OTHERS = (
    ("a DeepFloyd IF stage", r"(?:add_embedding\.pool|encoder_pooling\.1)\.positional_embedding$"),
    ("a T5 text encoder", r"encoder\.block\.0\.layer\.0\.SelfAttention\.|^enc\.blk\.0\.attn_q"),
    ("a CLIP vision encoder", r"vision_model\.encoder\.layers\.|^visual\.transformer\.|^embeddings\.patch_embedding\."),
    (
        "a CLIP text encoder",
        r"text_model\.encoder\.layers\.|^(?:model\.)?transformer\.resblocks\.|^embeddings\.token_embedding\.",
    ),
    ("a BERT text encoder", r"encoder\.layer\.0\.attention\.self\."),
    ("a language model (Llama, Gemma, Qwen or alike)", r"layers\.0\.self_attn\.q_proj\.|^blk\.0\.attn_q"),
    ("a VAE", r"^(?:first_stage_model\.|vae\.)?(?:decoder|encoder)\.(?:conv_in|conv1|mid|up_blocks|down)\b"),
    ("an upscaling model (ESRGAN or alike)", r"\.RDB1\.conv1|\.rdb1\.conv1|^conv_first\.|^model\.1\.sub\."),
)
_CROSS = re.compile(r"attn2\.to_k\.weight$")
_STEM = re.compile(r"(?:^|\.)(?:input_blocks\.0\.0|conv_in)\.weight$")
_LABELS = re.compile(r"(?:label_emb\.0\.0|add_embedding\.linear_1)\.weight$")
_WHOLE = re.compile(r"^model\.diffusion_model\.")
_VAES = re.compile(r"^(?:first_stage_model|vae)\.")


def what_is(shapes: Shapes) -> str | None:
    """The name of what has these keys and shapes, with its article ("a Flux transformer"); None where nobody knows it."""
    found = _first(_ADAPTERS, shapes) or _first(_NETWORKS, shapes) or _stable_diffusion(shapes)
    if found is None:
        return _first(_OTHERS, shapes)
    whole = any(_WHOLE.search(key) for key in shapes) and any(_VAES.search(key) for key in shapes)
    return f"a whole checkpoint ({found} with its text encoder and VAE)" if whole else found


def _first(names: Iterable[tuple[str, str]], shapes: Shapes) -> str | None:
    return next((name for name, pattern in names if any(map(re.compile(pattern).search, shapes))), None)


def _stable_diffusion(shapes: Shapes) -> str | None:
    """U-Nets with cross-attention: told apart by how wide their text is, and how many channels they read."""
    width = next((shape[1] for key, shape in shapes.items() if _CROSS.search(key) and len(shape) == 2), None)
    if width is None:
        inside = any("transformer_blocks." in key for key in shapes)
        return "the U-Net of a latent diffusion model" if inside else None
    channels = next((shape[1] for key, shape in shapes.items() if _STEM.search(key) and len(shape) == 4), 4)
    if width == 1024 and channels == 7:
        return "the Stable Diffusion x4 upscaler"
    if any(_LABELS.search(key) for key in shapes) and width in (1280, 2048):
        return "an SDXL U-Net" if width == 2048 else "the SDXL refiner's U-Net"
    known = {768: "a Stable Diffusion 1 U-Net", 1024: "a Stable Diffusion 2 U-Net", 2048: "an SDXL U-Net"}
    return known.get(width, "the U-Net of a latent diffusion model")
