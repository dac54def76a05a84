"""Do the nodes of the latent bridge measure, decode and choose a level, in the embedded host with a tiny VAE's files?"""

import importlib
from dataclasses import replace

import pytest
import torch
from pack import CORE, NODES
from safetensors.torch import save_file
from tiny_stages import tiny_stage

from imagen_host import runtime


@pytest.fixture
def folder(tmp_path):
    """taesd_decoder.safetensors and its encoder, eight channels wide, of random weights."""
    tiny = importlib.import_module(f"{CORE.__name__}.autoencoders.tiny")
    torch.manual_seed(0)
    network = tiny.TinyAutoencoder(4, 8)
    for part, ahead in (("encoder", 0), ("decoder", 1)):
        weights = getattr(network, part).state_dict()
        numbered = {f"{int(name.partition('.')[0]) + ahead}.{name.partition('.')[2]}": w for name, w in weights.items()}
        save_file(numbered, tmp_path / f"taesd_{part}.safetensors")
    with runtime.use(runtime.Runtime(model_directories=[tmp_path])):
        yield tmp_path


def load(name, latents="sd1"):
    return NODES["ImagenLoadVAE"]().load(name, latents)[0]


def measure(vae, image, **given):
    return NODES["ImagenVAELoss"]().measure(vae, image, **{"low_res_side": 0, "white_at": 0.1, **given})


def to_image(vae, samples, **given):
    return NODES["ImagenLatentToImage"]().decode(
        {"samples": samples}, vae, **{"low_res_side": 0, "measure": True, **given}
    )


def test_the_list_has_pixels_first_and_the_decoder(folder):
    names = NODES["ImagenLoadVAE"].INPUT_TYPES()["required"]["vae"][0]
    assert names[:2] == ["pixel_space", "taesd_decoder.safetensors"] and "taesd_encoder.safetensors" not in names


def test_pixel_space_loses_nothing(capsys):
    image = torch.rand(2, 20, 30, 3)
    shown, back, report, psnr, level = measure(load("pixel_space"), image)
    torch.testing.assert_close(back, image)
    assert not shown.any() and psnr == 99.0 and level == 0.0
    assert "picture 1: " in report and report in capsys.readouterr().out
    pixels, level = to_image(load("pixel_space"), image.movedim(-1, 1) * 2 - 1)
    torch.testing.assert_close(pixels, image)
    assert level == 0.0


def test_a_vae_is_measured_on_what_it_can_take(folder):
    """37x50 is cut to 32x48 about its middle; figures are those of the very pictures that are shown."""
    vae, image = load("taesd_decoder.safetensors"), torch.rand(2, 37, 50, 4)
    shown, back, report, psnr, level = measure(vae, image)
    assert shown.shape == back.shape == (2, 32, 48, 3)
    cut = image[:, 2:34, 1:49, :3]
    worst = (back - cut).square().mean((1, 2, 3)).max()
    assert psnr == pytest.approx(-10 * torch.log10(worst).item(), abs=0.05) and f"{psnr:.1f} dB" in report
    assert 0.0 < level < 1.0
    assert measure(vae, image, low_res_side=8)[-1] != level
    bright, dark = measure(vae, image, white_at=0.01)[0], measure(vae, image, white_at=1.0)[0]
    assert bright.mean() > shown.mean() > dark.mean() > 0


def test_another_schedule_calls_the_same_noise_by_another_level(folder):
    stage = replace(tiny_stage("sr256"), schedule=CORE.SCHEDULES["cosine"](shift=-2.0))
    vae, image = load("taesd_decoder.safetensors"), torch.rand(1, 32, 32, 3)
    plain, other = measure(vae, image)[-1], measure(vae, image, unet=stage)[-1]
    assert other < plain, "a noisier schedule is there earlier"


def test_a_latent_becomes_the_small_picture_and_its_level(folder):
    vae, samples = load("taesd_decoder.safetensors"), torch.randn(2, 4, 4, 6)
    whole, level = to_image(vae, samples)
    assert whole.shape == (2, 32, 48, 3) and 0.0 < level < 1.0
    small, _ = to_image(vae, samples, low_res_side=16)
    before = CORE.resize_longest_side(whole.movedim(-1, 1), 16)
    torch.testing.assert_close(small, before.movedim(1, -1))
    same, none = to_image(vae, samples, low_res_side=4096, measure=False)
    assert torch.equal(same, whole) and none == 0.0


def test_what_does_not_fit_is_said(folder):
    vae = load("taesd_decoder.safetensors")
    with pytest.raises(ValueError, match=r"\(1, 16, 4, 4\) is another model's.*4 h w"):
        to_image(vae, torch.zeros(1, 16, 4, 4))
    with pytest.raises(ValueError, match=r"\(7, 7\) is smaller than the 8 pixels"):
        measure(vae, torch.rand(1, 7, 7, 3))
    with pytest.raises(ValueError, match="4 channels, and flux has 16"):
        load("taesd_decoder.safetensors", "flux")
    (folder / "taesd_encoder.safetensors").unlink()
    alone = load("taesd_decoder.safetensors")
    assert to_image(alone, torch.zeros(1, 4, 2, 2), measure=False)[1] == 0.0
    with pytest.raises(ValueError, match="decoder alone"):
        to_image(alone, torch.zeros(1, 4, 2, 2))


def test_what_decodes_to_no_picture_is_refused():
    class Sound:
        def decode(self, samples):
            return torch.zeros(1, 2, 48_000)

    with pytest.raises(ValueError, match=r"\(1, 2, 48000\), which is no picture"):
        to_image(Sound(), torch.zeros(1, 64, 9))
