"""Is a file of another model called by its name, by both loaders, told from its keys alone?"""

from __future__ import annotations

import diffusers
import pytest
import torch
import transformers
from safetensors.torch import save_file

from imagen_core import find_stages, find_text_encoders, load_stage, load_text_encoder
from imagen_core._foreign import what_is

BLOCKS = {"layers_per_block": 1, "norm_num_groups": 8}
SD_LEVELS = {
    "block_out_channels": (16, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "attention_head_dim": 8,
    **BLOCKS,
}
XL = {"addition_embed_type": "text_time", "addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 16}
HEADS = {"attention_head_dim": 8, "num_attention_heads": 2, "num_layers": 1}


def unet(width, **settings):
    return diffusers.UNet2DConditionModel(cross_attention_dim=width, **SD_LEVELS, **settings)


def clip(kind, **settings):
    config, model = getattr(transformers, f"CLIP{kind}Config"), getattr(transformers, f"CLIP{kind}Model")
    return model(config(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, **settings))


MODELS = {  # as diffusers and transformers name their weights
    "a Stable Diffusion 1 U-Net": lambda: unet(768),
    "a Stable Diffusion 2 U-Net": lambda: unet(1024),
    "the Stable Diffusion x4 upscaler": lambda: unet(1024, in_channels=7),
    "an SDXL U-Net": lambda: unet(2048, **XL),
    "the SDXL refiner's U-Net": lambda: unet(1280, **XL),
    "a Flux transformer": lambda: diffusers.FluxTransformer2DModel(
        num_single_layers=1, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(2, 2, 4), **HEADS
    ),
    "a Stable Diffusion 3 transformer": lambda: diffusers.SD3Transformer2DModel(
        joint_attention_dim=16, caption_projection_dim=16, pooled_projection_dim=16, sample_size=8, **HEADS
    ),
    "a PixArt transformer": lambda: diffusers.PixArtTransformer2DModel(
        caption_channels=16, cross_attention_dim=16, sample_size=8, norm_num_groups=8, **HEADS
    ),
    "a VAE": lambda: diffusers.AutoencoderKL(block_out_channels=(16,), **BLOCKS),
    "a ControlNet": lambda: diffusers.ControlNetModel(
        block_out_channels=(16, 16),
        down_block_types=SD_LEVELS["down_block_types"],
        cross_attention_dim=768,
        conditioning_embedding_out_channels=(16, 16),
        attention_head_dim=8,
        **BLOCKS,
    ),
    "a CLIP text encoder": lambda: clip("Text", vocab_size=32),
    "a CLIP vision encoder": lambda: clip("Vision", image_size=8, patch_size=4),
    "a BERT text encoder": lambda: transformers.BertModel(
        transformers.BertConfig(
            vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        )
    ),
}
KEYS = {  # as the original repositories, ComfyUI and kohya's scripts do; shapes where they matter
    "a LoRA": [
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 8)},
        {"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": (4, 8)},
        {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora.up.weight": (4, 8)},
        {"lora_te1_text_model_encoder_layers_0_mlp_fc1.hada_w1_a": (4, 8)},
        {"diffusion_model.double_blocks.0.img_attn.proj.lokr_w1": (4, 8)},
        {"encoder.block.0.layer.0.SelfAttention.k.lora_A.default.weight": (4, 8)},
        {"down_blocks.1.attentions.0.add_k_proj.lora_A.weight": (4, 8)},
    ],
    "a Flux transformer": [
        {"double_blocks.0.img_attn.qkv.weight": (8, 8), "single_blocks.0.linear1.weight": (8, 8)},
        {"model.diffusion_model.double_blocks.18.img_attn.norm.key_norm.scale": (8,)},
    ],
    "a Stable Diffusion 3 transformer": [{"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (8, 8)}],
    "a Stable Diffusion 1 U-Net": [{"input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768)}],
    "an SDXL U-Net": [
        {
            "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
            "label_emb.0.0.weight": (1280, 2816),
        }
    ],
    "a whole checkpoint (a Stable Diffusion 1 U-Net with its text encoder and VAE)": [
        {
            "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
            "cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.weight": (8, 8),
            "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
        }
    ],
    "a VAE": [{"decoder.conv_in.weight": (8, 4, 3, 3), "encoder.conv_in.weight": (8, 3, 3, 3)}],
    "a ControlNet": [
        {"control_model.input_blocks.0.0.weight": (8, 4, 3, 3)},
        {"controlnet_blocks.0.weight": (8, 8), "transformer_blocks.0.attn.add_q_proj.weight": (8, 8)},
    ],
    "a CLIP text encoder": [{"transformer.resblocks.0.attn.in_proj_weight": (8, 8), "token_embedding.weight": (8, 8)}],
    "a Wan transformer": [{"blocks.0.cross_attn.k.weight": (8, 8), "blocks.0.modulation": (1, 6, 8)}],
    "a Chroma transformer": [
        {"distilled_guidance_layer.in_proj.weight": (8, 8), "double_blocks.0.img_attn.qkv.weight": (8, 8)}
    ],
    "a language model (Llama, Gemma, Qwen or alike)": [{"model.layers.0.self_attn.q_proj.weight": (8, 8)}],
    "an IP-Adapter": [{"image_proj.proj.weight": (8, 8), "ip_adapter.1.to_k_ip.weight": (8, 8)}],
    "an upscaling model (ESRGAN or alike)": [{"model.1.sub.0.RDB1.conv1.0.weight": (8, 8, 3, 3)}],
    "a textual inversion": [{"emb_params": (4, 768)}],
}
READ_AS_TEXT = "a CLIP text encoder"  # a stage to nobody, and a text encoder to us
FILES = [
    (name, {key: tuple(value.shape) for key, value in make().state_dict().items()}) for name, make in MODELS.items()
]
FILES += [(name, shapes) for name, every in KEYS.items() for shapes in every]


def test_every_kind_is_called_by_its_name_by_both_loaders(tmp_path):
    for name, shapes in FILES:
        assert what_is(shapes) == name
        file = tmp_path / "some model.safetensors"
        save_file({key: torch.zeros(shape, dtype=torch.float16) for key, shape in shapes.items()}, file)
        loaders = {load_stage: "Imagen Load U-Net takes a stage", load_text_encoder: "Imagen Load Text Encoder"}
        if name == READ_AS_TEXT:
            del loaders[load_text_encoder]
        for load, node in loaders.items():
            with pytest.raises(ValueError) as caught:
                load(file)
            said = str(caught.value)
            assert said.startswith((f"{file} is {name}: {node}", f"{file} is {name}, and {node} takes")), said
            assert "\n" not in str(caught.value)
        assert list(find_stages(tmp_path)) == []
        assert bool(list(find_text_encoders(tmp_path))) == (name == READ_AS_TEXT)


def test_what_nobody_knows_is_not_guessed_at(tmp_path):
    assert what_is({"layer.weight": (3, 3), "layer.bias": (3,)}) is None and what_is({}) is None
