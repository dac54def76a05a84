"""Do the nodes of DALL-E 2 pass on what they should, with a tiny Karlo of random weights from its authors' files?"""

import types

import pytest
import tiny_adm
import torch
from pack import CORE, NODES

from imagen_host import runtime

EMBED, TOKENS, WIDTH = 16, 77, 16  # of the layouts in tests/core/stored


@pytest.fixture(scope="module")
def karlo(tmp_path_factory):
    """Prior, decoder and upsampler, by way of the loaders."""
    folder = tmp_path_factory.mktemp("karlo")
    for name in ("karlo_prior", "karlo_decoder", "karlo_upsampler"):
        tiny_adm.written(folder / f"{name}.safetensors", name)
    with runtime.use(runtime.Runtime(model_directories=[folder])):
        loaders = {
            "karlo_prior": "ImagenLoadPrior",
            "karlo_decoder": "ImagenLoadUNet",
            "karlo_upsampler": "ImagenLoadUNet",
        }
        listed = {name: next(iter(NODES[node].INPUT_TYPES()["required"].values()))[0] for name, node in loaders.items()}
        assert {*listed["karlo_prior"]} == {"imagen-mini/prior.safetensors", "karlo_prior.safetensors"}
        assert {"karlo_decoder.safetensors", "karlo_upsampler.safetensors"} < {*listed["karlo_decoder"]}
        assert "karlo_prior.safetensors" not in listed["karlo_decoder"]
        return {name: NODES[node]().load(f"{name}.safetensors")[0] for name, node in loaders.items()}


def read(seed, pooled=EMBED):
    """A prompt of five tokens, encoded by no encoder."""
    generator = torch.Generator().manual_seed(seed)
    row = lambda *shape: torch.randn(1, *shape, generator=generator)
    mask = torch.arange(TOKENS)[None] < 5
    return CORE.TextEmbeds(embeds=row(TOKENS, WIDTH), mask=mask, pooled=row(pooled) if pooled else None)


def prompt(seed=1):
    return CORE.Prompt(text=read(seed), negative=read(100))


def embeds(seed, rows=1):
    return torch.randn(rows, EMBED, generator=torch.Generator().manual_seed(seed))


def drawn(stage, text, batch_size=1):
    settings = {"seed": 3, "steps": 3, "guidance_scale": 1.0, "sampler": "ddpm", "width": 16, "height": 16}
    return NODES["ImagenBaseSample64"]().sample(stage, text, batch_size=batch_size, **settings)[0]


def told(text, image_embed, strength=1.0, noise_augmentation=0.0, **more):
    return NODES["ImagenUnCLIPConditioning"]().make(text, image_embed, strength, noise_augmentation, **more)[0]


def test_a_prompt_becomes_a_picture_of_its_embedding(karlo):
    sample = NODES["ImagenPriorSample"]().sample
    (two,) = sample(karlo["karlo_prior"], prompt(), 7, 3, 4.0, 2, 2)
    (one,) = sample(karlo["karlo_prior"], prompt(), 8, 3, 4.0, 2, 1)
    assert two.shape == (2, EMBED) and torch.allclose(two[1:], one, atol=1e-4)
    small = drawn(karlo["karlo_decoder"], told(prompt(), two), batch_size=2)
    assert small.shape == (2, 16, 16, 3) and (small[0] - small[1]).abs().max() > 0.05
    large = NODES["ImagenSuperRes"]().sample(
        unet=karlo["karlo_upsampler"],
        image=small,
        seed=0,
        steps=7,
        guidance_scale=1.0,
        sampler="ddpm",
        aug_level=0.0,
        factor=4,
    )[0]
    assert large.shape == (2, 64, 64, 3) and large.isfinite().all()
    with pytest.raises(ValueError, match="got none: put Imagen unCLIP Conditioning"):
        drawn(karlo["karlo_decoder"], prompt())
    with pytest.raises(ValueError, match="got Classes: connect an Imagen Text Encode"):
        sample(karlo["karlo_prior"], CORE.Classes(labels=(1,)), 7, 3, 4.0, 2, 1)


def test_several_embeddings_add_up_and_noise_is_a_seeds(karlo):
    a, b = embeds(1), embeds(2)
    both = told(told(prompt(), a, 0.25), b, 0.75)
    assert torch.allclose(both.image_embed, 0.25 * a + 0.75 * b)
    assert torch.allclose(both.image_embed, NODES["ImagenMixEmbeds"]().mix(a, "lerp", 0.75, other=b)[0])
    noisy = told(prompt(), torch.cat([a, a]), noise_augmentation=0.5, noise_seed=4).image_embed
    assert torch.equal(noisy[1:], told(prompt(), a, noise_augmentation=0.5, noise_seed=5).image_embed)
    assert not torch.allclose(noisy[0], noisy[1])
    nothing_left = told(prompt(), a, noise_augmentation=1.0).image_embed
    assert (
        torch.nn.functional.cosine_similarity(nothing_left, told(prompt(), 5 * a, noise_augmentation=1.0).image_embed)
        > 0.99
    )
    with pytest.raises(ValueError, match="cannot be mixed: both have to come from one CLIP"):
        told(told(prompt(), a), torch.zeros(1, 3))


def test_embeddings_go_along_an_arc():
    mix, a, b = NODES["ImagenMixEmbeds"]().mix, embeds(1), 3.0 * embeds(2)
    assert torch.allclose(mix(a, "slerp", 0.0, other=b)[0], a, atol=1e-6)
    assert torch.allclose(mix(a, "slerp", 1.0, other=b)[0], b, atol=1e-5)
    half = mix(a, "slerp", 0.5, other=b)[0]
    bisector = a / a.norm() + b / b.norm()
    assert torch.allclose(half / half.norm(), bisector / bisector.norm(), atol=1e-6)
    assert torch.allclose(half.norm(), (a.norm() + b.norm()) / 2, atol=1e-5)
    quarter = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    assert torch.allclose(mix(*quarter[:1], "slerp", 1 / 3, other=quarter[1])[0], torch.tensor([[3**0.5, 1.0]]))
    for same in (a, 2.0 * a, -a):  # no arc, or no one arc, between these
        assert mix(a, "slerp", 0.3, other=same)[0].isfinite().all()
    with pytest.raises(ValueError, match="connect the second to other"):
        mix(a, "slerp", 0.5)


def test_an_embedding_moves_by_what_two_texts_differ_in():
    mix, z = NODES["ImagenMixEmbeds"]().mix, embeds(1)
    now, then = (CORE.Prompt(text=read(seed)) for seed in (1, 2))
    difference = then.text.pooled - now.text.pooled
    before, after = (
        torch.nn.functional.cosine_similarity(mix(z, "text_difference", t, text=then, from_text=now)[0], difference)
        for t in (0.0, 0.4)
    )
    assert after > before + 0.1
    assert torch.allclose(mix(z, "text_difference", 0.4, text=then, from_text=now)[0].norm(), z.norm())
    for texts, message in (
        ({"text": then}, "connect text and from_text"),
        ({"text": now, "from_text": now}, "say the same"),
        ({"text": then, "from_text": CORE.Prompt(text=read(3, pooled=None))}, "have no place in CLIP's common space"),
    ):
        with pytest.raises(ValueError, match=message):
            mix(z, "text_difference", 0.3, **texts)


def test_what_comfyuis_own_clip_vision_saw_is_taken():
    embed = NODES["ImagenImageEmbed"]().embed
    seen = types.SimpleNamespace(image_embeds=embeds(1).half())
    assert embed(clip_vision_output=seen)[0].dtype == torch.float32
    with pytest.raises(ValueError, match="has no projection"):
        embed(clip_vision_output=types.SimpleNamespace(image_embeds=None))
    with pytest.raises(ValueError, match="connect a clip and an image"):
        embed()


def test_a_row_ends_where_its_ends_are(karlo):
    """Each end is what its own embedding and noise draw; a picture comes back at its end."""
    draw, stage = NODES["ImagenInterpolate"]().draw, karlo["karlo_decoder"]
    a, b, steps = embeds(1), embeds(2), 4
    (row,) = draw(stage, prompt(), a, b, 3, 5, 6, steps, 1.0)
    assert row.shape == (3, 64, 64, 3)
    ddim = {"steps": steps, "guidance_scale": 1.0, "sampler": "ddim", "width": 0, "height": 0, "batch_size": 1}
    for frame, embed, seed in ((row[0], a, 5), (row[2], b, 6)):
        (alone,) = NODES["ImagenBaseSample64"]().sample(stage, told(prompt(), embed), seed=seed, **ddim)
        assert (alone[0] - frame).abs().max() < 2e-3
    assert (row[1] - row[0]).abs().max() > 0.05
    picture, shown = torch.rand(1, 64, 64, 3), told(prompt(), a)
    (row,) = draw(stage, prompt(), a, b, 2, 5, 6, steps, 1.0, first_image=picture)
    redrawn, *_ = NODES["ImagenRedraw"]().redraw(stage, picture, shown, shown, steps, 1.0)
    assert (row[0] - redrawn[0]).abs().max() < 2e-3 < (row[1] - redrawn[0]).abs().max()
