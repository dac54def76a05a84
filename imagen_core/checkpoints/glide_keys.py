"""What is each weight of GLIDE's networks called in its published files, and how is it cut there?

The trunk is ADM's (adm_keys.py); here are the transformer that reads the prompt, and what takes it to the trunk. Queries,
keys and values lie head by head, in the transformer too.
"""

from __future__ import annotations

from ..unets.adm import ADM
from .adm_keys import cell_places, head_by_head_map, same, trunk_map
from .key_map import Entry, KeyMap, parts_first

# A key of GLIDE's and of no other network that has ADM's blocks.
SIGNATURE = "transformer.resblocks.0.attn.c_qkv.weight"
ALONE = {
    "text_transformer.words.weight": "token_embedding.weight",
    "text_transformer.places": "positional_embedding",
    "text_transformer.padding": "padding_embedding",
}
TEXT = {"text_transformer.norm": "final_ln", "text_pooling.out_layer": "transformer_proj"}
BLOCK = {
    "attention_norm": "ln_1",
    "query": "attn.c_qkv",
    "out": "attn.c_proj",
    "mlp_norm": "ln_2",
    "wider": "mlp.c_fc",
    "narrower": "mlp.c_proj",
}


def key_table(unet: ADM) -> KeyMap:
    """For each key of `unet` (which may be on the meta device) its `Entry`."""
    shapes = {key: tuple(tensor.shape) for key, tensor in unet.state_dict().items()}
    table = trunk_map(unet, "original") | {ours: Entry({theirs: shapes[ours]}) for ours, theirs in ALONE.items()}
    for ours, theirs in TEXT.items():
        table |= same(shapes, ours, theirs)
    for layer in range(unet.flags.text_layers):
        for ours, theirs in BLOCK.items():
            table |= same(shapes, f"text_transformer.blocks.{layer}.{ours}", f"transformer.resblocks.{layer}.{theirs}")
    sorted_rows = parts_first(3, unet.flags.text_heads)
    queries = [key for key in table if key.startswith("text_transformer") and ".query." in key]
    table |= {key: Entry(table[key].parts, sorted_rows) for key in queries}
    for place in cell_places(unet, "original"):
        if (attention := place.cell.attention) is not None:
            ours, theirs = f"{place.ours}.attention.text_keys_values", f"{place.attention}.encoder_kv"
            table |= head_by_head_map(shapes, ours, theirs, 2, attention.heads)
    assert table.keys() == shapes.keys(), table.keys() ^ shapes.keys()
    return table
