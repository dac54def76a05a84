"""Do our modules have what ComfyUI's memory manager reads of each module that it may leave on another device?

Its `ModelPatcher` (0.4.0 and later) takes `weight` and `bias` of every module that has `comfy_cast_weights`, whoever made
it. These tests need no ComfyUI: the classes below stand for its layers, whose constructors never run on ours.
"""

import copy
import importlib

import pytest
import torch
from pack import CORE, PACK
from tiny_stages import tiny_stage
from torch import nn

host = importlib.import_module(f"{PACK.__name__}.nodes._host.castable")
stored = importlib.import_module(f"{CORE.__name__}.text.stored_weight")
unets = importlib.import_module(f"{CORE.__name__}.unets")
clip = importlib.import_module(f"{CORE.__name__}.clip.network")
classifiers = importlib.import_module(f"{CORE.__name__}.classifiers.network")
movable = importlib.import_module(f"{CORE.__name__}.text.movable")


# What its ModelPatcher notes down on the network that it is given, 0.3.64 to 0.33.
NOTED = (
    *("device", "model_lowvram", "lowvram_patch_counter", "model_loaded_weight_memory", "model_offload_buffer_memory"),
    *("current_weight_patches_uuid", "current_patcher", "skip_injection", "dynamic_vbars", "dynamic_pins"),
)


class Cast:
    """As ComfyUI marks its layers: on the class, the lists shared by all of them."""

    comfy_cast_weights = False
    weight_function, bias_function = [], []


PLAIN = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm, nn.Embedding)
CLASSES = {plain: type(plain.__name__, (plain, Cast), {}) for plain in PLAIN}


def text_weights():
    """Every kind in which a T5's weights rest: plain, with a scale, and in GGUF blocks (Q8_0: 34 bytes for 32)."""
    scaled = torch.ones(4, 8).to(torch.float8_e4m3fn)
    return {
        "plain.weight": stored.FloatWeight(stored=torch.ones(4, 8)),
        "scaled.weight": stored.FloatWeight(stored=scaled, scale=torch.tensor(0.5)),
        "blocks.weight": stored.GgufWeight(stored=torch.zeros(4, 34, dtype=torch.uint8), kind=8),
    }


def as_the_manager_reads(network):
    """{name: (weight, bias)} of each module that carries the mark; raises AttributeError where one has not both."""
    return {
        name: (module.weight, module.bias, module.weight_function, module.bias_function)
        for name, module in network.named_modules()
        if hasattr(module, "comfy_cast_weights")
    }


@pytest.mark.parametrize("kind", ["base64", "sr256"])
def test_the_layers_of_a_unet_are_read(kind):
    network = tiny_stage(kind).unet
    layers = sum(type(module) in PLAIN for module in network.modules())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert host.castable(network, CLASSES) is network
    assert len(as_the_manager_reads(network)) == layers > 10
    assert {type(module) for module in network.modules()}.isdisjoint(PLAIN)
    assert network.state_dict().keys() == before.keys(), "what was added is no weight"


MANAGED = [unet for _, unet in unets.UNETS.values()] + [*CORE.ADAPTERS.values(), movable.MovableWeights]
MANAGED += [clip.ClipNetwork, clip.TextTower, classifiers.NoisyClassifier]


@pytest.mark.parametrize("network", MANAGED, ids=lambda network: network.__name__)
@pytest.mark.parametrize("name", NOTED)
def test_the_manager_may_note_down_on_a_network_what_it_likes(network, name):
    """A property of that name could not be written: U-Nets, what steers and guides them, weights of text encoders."""
    assert not hasattr(network, name)


def test_an_embedding_has_a_bias_that_is_none():
    """torch's has none, and ComfyUI's sets it in the constructor."""
    (read,) = as_the_manager_reads(host.castable(nn.Embedding(3, 4), CLASSES)).values()
    assert read[1] is None


def test_the_weights_of_a_text_encoder_are_read():
    weights = movable.MovableWeights(text_weights())
    names = dict(weights.named_parameters())
    assert host.fetched_one_by_one(weights) is weights
    read = as_the_manager_reads(weights)
    assert set(read) == {"by_name.plain/weight", "by_name.scaled/weight"}, "GGUF blocks stay where they are"
    assert all(weight is bias is None for weight, bias, *_ in read.values())
    assert dict(weights.named_parameters()).keys() == names.keys()
    assert torch.equal(weights["scaled.weight"].dense(torch.device("cpu"), torch.float32), torch.full((4, 8), 0.5))


def test_each_module_has_lists_of_its_own():
    """A LoRA appended to one layer's list must not run in another's, nor in a copy's."""
    network = host.castable(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), CLASSES)
    weights = host.fetched_one_by_one(movable.MovableWeights(text_weights()))
    lists = [
        each for model in (network, copy.deepcopy(network), weights) for each in as_the_manager_reads(model).values()
    ]
    assert len({id(functions) for _, _, *both in lists for functions in both}) == 2 * len(lists)


def test_a_copy_forgets_where_the_hosts_manager_left_the_weights():
    """What it notes on a module it does under names of its own, new ones each year."""
    network = host.castable(nn.Sequential(nn.Linear(2, 2), nn.SiLU()), CLASSES)
    noted = network[0]
    noted.prev_comfy_cast_weights, noted.comfy_cast_weights, noted.comfy_patched_weights = False, True, True
    noted.weight_function.append(torch.neg)
    copied = host.unnoted(copy.deepcopy(network))
    assert (copied[0].comfy_cast_weights, copied[0].weight_function) == (False, [])
    assert vars(copied[0]).keys() == vars(host.castable(nn.Linear(2, 2), CLASSES)).keys()
    assert noted.comfy_patched_weights and noted.weight_function == [torch.neg]
