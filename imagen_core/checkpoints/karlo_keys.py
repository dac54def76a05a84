"""What is each weight of Karlo's decoder and upsamplers called in the published files, and how is it cut there?

The trunk is ADM's (adm_keys.py); here is what reads text and an image's embedding. diffusers keeps that in a folder of its
own, text_proj; the authors' single files hold all of a network behind one prefix.
"""

from __future__ import annotations

from ..unets.karlo_decoder import KarloDecoder
from ..unets.karlo_upsampler import KarloUpsampler
from .adm_keys import NAMINGS, apart, cell_places, head_by_head_map, same, trunk_map
from .key_map import Entry, KeyMap, prefixed

PREFIXES = {"diffusers": "", "original": "model."}  # of the decoder's keys
NETWORKS = {  # of the upsampler's two
    "diffusers": {"first.": "", "last.": "super_res_last."},
    "original": {"first.": "model_first_steps.", "last.": "model_last_step."},
}
# ours: (diffusers, original)
READS = {
    "text_projection": ("text_proj.encoder_hidden_states_proj", "text_seq_proj.0"),
    "text_projection_norm": ("text_proj.text_encoder_hidden_states_norm", "text_seq_proj.1"),
    "text_vector": ("text_proj.embedding_proj", "text_feat_proj"),
    "image_vector": ("text_proj.clip_image_embeddings_project_to_time_embeddings", "clip_emb"),
    "image_tokens": ("text_proj.clip_extra_context_tokens_proj", "clip_tok_proj"),
}
NULL_IMAGE = ("text_proj.learned_classifier_free_guidance_embeddings", "cf_param")


def decoder_map(unet: KarloDecoder, naming: str) -> KeyMap:
    """For each key of `unet` (which may be on the meta device) its `Entry` under `naming`, one of NAMINGS."""
    side = NAMINGS.index(naming)
    shapes = {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    table = trunk_map(unet, naming) | {"null_image": Entry({NULL_IMAGE[side]: shapes["null_image"]})}
    for ours, names in READS.items():
        table |= same(shapes, ours, names[side])
    for place in cell_places(unet, naming):
        if place.cell.attention is None:
            continue
        ours = f"{place.ours}.attention.text_keys_values"
        if naming == "diffusers":
            table |= apart(shapes, ours, [f"{place.attention}.add_{part}_proj" for part in "kv"])
        else:
            table |= head_by_head_map(shapes, ours, f"{place.attention}.encoder_kv", 2, place.cell.attention.heads)
    assert table.keys() == shapes.keys(), table.keys() ^ shapes.keys()
    return prefixed(table, theirs=PREFIXES[naming])


def upsampler_map(unet: KarloUpsampler, naming: str) -> KeyMap:
    """The same of both networks of an upsampler."""
    return {
        key: entry
        for ours, theirs in NETWORKS[naming].items()
        for key, entry in prefixed(trunk_map(getattr(unet, ours[:-1]), naming), ours, theirs).items()
    }
