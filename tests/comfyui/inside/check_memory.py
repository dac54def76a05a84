"""Do our models live under ComfyUI's memory manager: moved when used, freed for others, kept alive by nobody else?

The machines of these tests have no second device with memory of its own, so where a card is needed the meta device
stands for one: tensors on it are elsewhere than the CPU's, and only what they hold cannot be looked at.
"""

import dataclasses
import gc
import importlib
import weakref

import pytest
import torch
from comfy import model_management
from comfy.cli_args import args

CARD = torch.device("meta")
SHIPPED = "imagen-mini/things64.safetensors"
ENCODER = "imagen-mini/things_text_encoder"
DRAW = {"width": 16, "height": 16, "steps": 2, "batch_size": 3}


@pytest.fixture
def memory(pack):
    return importlib.import_module(f"{pack.__name__}.nodes._host.comfy_memory")


@pytest.fixture(autouse=True)
def nobody_elses_models():
    model_management.unload_all_models()
    yield
    model_management.unload_all_models()


@pytest.fixture
def managed(memory, make_stage):
    """managed(kind) -> a tiny stage under ComfyUI's memory manager."""
    return lambda kind="base64": memory.managed_stage(make_stage(kind))


@pytest.fixture
def card(monkeypatch):
    """card(stages, free) -> a card with room for the largest of these stages and `free` bytes besides."""

    def plug_in(stages, free):
        for stage in stages:
            stage.patcher.load_device = CARD
        largest = max(stage.patcher.model_size() for stage in stages)
        capacity = int(1.1 * largest + model_management.minimum_inference_memory() + free)

        def free_memory(device=None, torch_free_too=False):
            held = sum(each.loaded_size() for each in model_management.loaded_models() if each.load_device == CARD)
            return (capacity - held, 0) if torch_free_too else capacity - held

        def to(module, *args, **kwargs):
            """What returns from the meta device has lost its contents, which torch's own `to` refuses to do."""
            home = args == (torch.device("cpu"),)
            return module.to_empty(device="cpu") if home else move(module, *args, **kwargs)

        move = torch.nn.Module.to
        monkeypatch.setattr(torch.nn.Module, "to", to)
        monkeypatch.setattr(model_management, "get_free_memory", free_memory)
        monkeypatch.setattr(model_management, "vram_state", model_management.VRAMState.NORMAL_VRAM)

    return plug_in


def devices(stage):
    return {parameter.device.type for parameter in stage.unet.parameters()}


def draw(run, stage, prompt):
    return run("ImagenBaseSample64", unet=stage, text=prompt, **DRAW)[0]


def test_loaded_models_are_known_to_the_manager(run):
    stage, encoder = run("ImagenLoadUNet", checkpoint=SHIPPED)[0], run("ImagenLoadTextEncoder", text_encoder=ENCODER)[0]
    assert model_management.loaded_models() == [], "nothing is moved before it is used"
    text = run("ImagenTextEncode", text_encoder=encoder, text="a red sphere", negative_text="", padding="none")[0]
    assert model_management.loaded_models() == [encoder.network.patcher]
    draw(run, stage, text)
    assert set(model_management.loaded_models()) == {encoder.network.patcher, stage.patcher}


def test_a_remembered_prompt_moves_nothing(run):
    encoder = run("ImagenLoadTextEncoder", text_encoder=ENCODER)[0]
    first = run("ImagenTextEncode", text_encoder=encoder, text="a red sphere", negative_text="", padding="none")[0]
    model_management.unload_all_models()
    again = run("ImagenTextEncode", text_encoder=encoder, text="a red sphere", negative_text="", padding="none")[0]
    assert model_management.loaded_models() == []
    assert torch.equal(first.text.embeds, again.text.embeds)


def test_nothing_of_ours_keeps_a_model_alive(run):
    stage, encoder = run("ImagenLoadUNet", checkpoint=SHIPPED)[0], run("ImagenLoadTextEncoder", text_encoder=ENCODER)[0]
    text = run("ImagenTextEncode", text_encoder=encoder, text="a blue cube", negative_text="", padding="none")[0]
    draw(run, stage, text)
    watched = [weakref.ref(each) for each in (stage.unet, stage.patcher, encoder.network.patcher.model)]
    gc.collect()
    gc.disable()  # not even until the next collection
    try:
        del stage, encoder
        assert [each() for each in watched] == [None, None, None]
    finally:
        gc.enable()
    assert model_management.loaded_models() == []


@pytest.mark.parametrize("whole", [False, True])
def test_one_stage_at_a_time_where_memory_is_short(memory, managed, card, monkeypatch, whole):
    """ComfyUI moves away as much of the other as is needed; all of it under --disable-smart-memory."""
    monkeypatch.setattr(model_management, "DISABLE_SMART_MEMORY", whole)
    base, large = managed("base64"), managed("sr256")
    card([base, large], free=0)
    memory.loaded_stage(base, pictures=1, height=16, width=16)
    assert (devices(base), devices(large)) == ({"meta"}, {"cpu"})
    memory.loaded_stage(large, pictures=1, height=16, width=16)
    assert devices(large) == {"meta"}
    assert "cpu" in devices(base) and (not whole or devices(base) == {"cpu"})
    assert model_management.get_free_memory(CARD) >= model_management.minimum_inference_memory()


def test_both_stay_where_there_is_room(memory, managed, card):
    base, large = managed("base64"), managed("sr256")
    card([base, large], free=2**30)
    for stage in (base, large):
        memory.loaded_stage(stage, pictures=1, height=16, width=16)
    assert (devices(base), devices(large)) == ({"meta"}, {"meta"})


def test_it_is_freed_for_other_models(memory, managed, card):
    stage = managed()
    card([stage], free=0)
    memory.loaded_stage(stage, pictures=1, height=16, width=16)
    model_management.free_memory(1e30, CARD)
    assert devices(stage) == {"cpu"}
    assert model_management.loaded_models() == []


@pytest.mark.parametrize("kind", ["base64", "sr256"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_network_larger_than_the_card_runs_with_weights_elsewhere(core, managed, prompt, kind, share):
    """What --lowvram and --novram do: some weights, or none that can be left, are on the card."""
    stage = managed(kind)
    stage.patcher.load_device = CARD
    stage.patcher.partially_load(CARD, 1 + share * stage.patcher.model_size())
    assert "cpu" in devices(stage) and (not share or "meta" in devices(stage))
    x_t = torch.empty(2, 3, 16, 16, device=CARD)
    repeated = importlib.import_module(f"{core.__name__}.conditioning").repeated
    if kind == "base64":
        embeds = core.TextEmbeds(embeds=prompt.text.embeds.to(CARD), mask=prompt.text.mask.to(CARD))
        with torch.inference_mode(False), torch.enable_grad():  # then no mask is read, which meta tensors do not have
            told = repeated(stage.unet.encode_text(embeds), 2)
    else:
        told = core.Signals(pixels=x_t, aug_level=torch.zeros(2, device=CARD))
    assert stage.unet(x_t, torch.zeros(2, device=CARD), told).device == CARD


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_deepfloyds_network_runs_with_weights_elsewhere(core, memory, share):
    unets = importlib.import_module(f"{core.__name__}.unets.deepfloyd_unet")
    config = unets.DeepFloydUNetConfig(
        channels=(64, 128),
        num_res_blocks=(1, 1),
        attention=(False, True),
        text_width=64,
        text_embed_dim=64,
        pooling_heads=8,
    )
    network = memory.castable(core.build_unet(config).eval().requires_grad_(False), memory.CASTABLE)
    patcher = memory.NetworkPatcher(network, CARD, torch.device("cpu"))
    patcher.partially_load(CARD, 1 + share * patcher.model_size())
    assert "cpu" in {parameter.device.type for parameter in network.parameters()}
    mask = torch.ones(2, 77, dtype=torch.bool, device=CARD)
    text = network.encode_text(core.TextEmbeds(embeds=torch.empty(2, 77, 64, device=CARD), mask=mask))
    drawn = network(torch.empty(2, 3, 16, 16, device=CARD), torch.zeros(2, device=CARD), text)
    assert (drawn.device, drawn.shape[1]) == (CARD, 6)


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_weights_fetched_when_they_are_used_give_the_same_picture(run, core, make_stage, memory, prompt, share):
    stage = memory.managed_stage(make_stage())
    plain = core.sample_base(stage, prompt, core.Draw(seeds=[0, 1], steps=3), height=16, width=16)
    stage.patcher.partially_load(torch.device("cpu"), 1 + share * stage.patcher.model_size())
    assert stage.unet.model_lowvram
    assert torch.equal(core.sample_base(stage, prompt, core.Draw(seeds=[0, 1], steps=3), height=16, width=16), plain)


def test_a_text_encoder_with_weights_elsewhere_reads_the_same(run):
    encoders = [run("ImagenLoadTextEncoder", text_encoder=ENCODER)[0] for _ in range(2)]
    encoders[0].encode(["a green ring"])
    patcher = encoders[0].network.patcher
    model_management.unload_all_models()
    patcher.partially_load(torch.device("cpu"), 1)
    encoders[0].remembered = type(encoders[0].remembered)(8)
    assert torch.equal(*(encoder.encode(["a green ring"]).embeds for encoder in encoders))


def test_a_batch_too_large_is_split_into_the_same_pictures(run, memory, managed, prompt, monkeypatch):
    stage = managed()
    whole = draw(run, stage, prompt)
    one = stage.activation_bytes(16, 16)
    monkeypatch.setattr(model_management, "get_free_memory", lambda *_, **__: 3.5 * one / memory.SPARE)
    split = memory.loaded_stage(stage, pictures=3, height=16, width=16)
    assert split.max_rows in (1, 2, 3) and isinstance(split, memory.ManagedStage)
    assert (draw(run, stage, prompt) - whole).abs().max() < 2e-4
    plenty = dataclasses.replace(stage, max_rows=None)
    monkeypatch.undo()
    assert memory.loaded_stage(plenty, pictures=3, height=16, width=16).max_rows is None


@pytest.mark.parametrize(
    "flag, choice, expected",
    [
        (None, "auto", torch.float32),
        ("bf16_unet", "auto", torch.bfloat16),
        ("fp16_unet", "auto", torch.float16),
        ("fp8_e4m3fn_unet", "auto", torch.float32),
        ("fp16_unet", "float32", torch.float32),
        (None, "bfloat16", torch.bfloat16),
    ],
)
def test_precision_is_the_users_or_else_the_hosts(run, monkeypatch, flag, choice, expected):
    if flag:
        monkeypatch.setattr(args, flag, True)
    assert run("ImagenLoadUNet", checkpoint=SHIPPED, dtype=choice)[0].dtype == expected


def test_a_stage_of_another_maker_is_left_where_it_is(core, memory, make_stage):
    made = make_stage()
    stage = core.Stage(unet=made.unet, schedule=made.schedule, spec=made.spec)
    assert memory.loaded_stage(stage, pictures=1, height=16, width=16) is stage


@pytest.fixture
def guides(core, memory, tmp_path):
    """A tiny CLIP and a classifier under ComfyUI's memory manager."""
    parts = {name: importlib.import_module(f"{core.__name__}.{name}") for name in ("clip.config", "clip.network")}
    parts |= {name: importlib.import_module(f"{core.__name__}.{name}") for name in ("classifiers.network", "unets.adm")}
    tower = {"width": 64, "layers": 2, "heads": 1, "mlp": 32}
    vision = parts["clip.config"].VisionConfig(**tower, side=16, patch=8)
    clip = parts["clip.network"].ClipNetwork(parts["clip.config"].ClipConfig(vision=vision, vision_embed_dim=8))
    adm = parts["unets.adm"].ADMConfig(**{**parts["unets.adm"].ADMConfig.tiny, "in_channels": 3})
    settings = parts["classifiers.network"].ClassifierConfig(adm=adm, num_classes=5, image_size=16)
    classifier = parts["classifiers.network"].NoisyClassifier(settings)
    for weight in [*clip.parameters(), *classifier.parameters()]:
        torch.nn.init.normal_(weight, std=0.2)
    schedule = core.SCHEDULES["discrete"]()
    made = core.Clip(clip.eval(), None), core.Classifier(network=classifier.eval(), schedule=schedule)
    return [memory.managed_measure(each) for each in made]


def pulls(core, guides):
    """A guidance towards a text that nobody wrote, and one towards class 1."""
    text = torch.nn.functional.normalize(torch.ones(1, 8), dim=-1)
    towards = core.make_guidance("clip", scale=30.0, clip=guides[0], text=text)
    return towards, core.make_guidance("classifier", scale=3.0, classifier=guides[1], labels=(1,))


def test_what_guides_is_brought_beside_the_stage_and_pulls(run, core, memory, make_stage, prompt, guides):
    stage = make_stage()
    plain = draw(run, stage, prompt)
    guided = run("ImagenBaseSample64", unet=stage, text=prompt, guidance=pulls(core, guides), **DRAW)[0]
    assert (guided - plain).abs().max() > 1e-3
    assert {each.patcher for each in (stage, *guides)} == set(model_management.loaded_models())


def test_what_guides_is_on_the_card_whole_or_not_at_all(memory, managed, card, guides):
    """Half of it there would be cast for each layer, into memory that the way back no longer finds as it was."""
    stage = managed()
    for each in guides:
        each.patcher.load_device = CARD
    card([stage, *guides], free=0)
    memory.loaded_stage(stage, pictures=1, height=16, width=16, beside=guides)
    for each in guides:
        assert {weight.device.type for weight in each.network.parameters()} == {"meta"} and each.device == CARD
        assert each.patcher.loaded_size() == each.patcher.model_size()
    model_management.free_memory(1e30, CARD)
    assert model_management.loaded_models() == []
    assert {weight.device.type for each in guides for weight in each.network.parameters()} == {"cpu"}
