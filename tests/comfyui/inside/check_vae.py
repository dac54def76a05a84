"""Do the nodes of the latent bridge take ComfyUI's own VAE objects, and its nodes ours? Random weights, and pixel_space."""

import comfy.latent_formats
import comfy.sd
import pytest
import torch
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.taesd.taesd import TAESD
from safetensors.torch import save_file

IMAGE = torch.rand(2, 70, 48, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def taesd():
    """(ComfyUI's VAE, its weights) as its VAELoader makes it of the files of TAESD."""
    torch.manual_seed(0)
    weights = {name: weight.clone() for name, weight in TAESD(latent_channels=4).state_dict().items()}
    for name, weight in weights.items():  # ComfyUI's layers begin with whatever memory holds
        weights[name] = torch.randn(weight.shape) * (0.5 / max(1, weight[0].numel()) ** 0.5 if weight.ndim else 0)
    weights["vae_scale"], weights["vae_shift"] = torch.tensor(0.18215), torch.tensor(0.0)
    return comfy.sd.VAE(sd=dict(weights)), weights


@pytest.fixture
def kl():
    """Stable Diffusion's own architecture, which ComfyUI builds at its full size only from a file that says so."""
    sizes = {"double_z": True, "z_channels": 4, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128}
    sizes |= {"ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0}
    torch.manual_seed(0)
    model = AutoencoderKL(ddconfig=sizes, embed_dim=4)
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    return comfy.sd.VAE(sd=model.state_dict())


def test_the_meter_reads_comfyuis_vaes(run, taesd, kl):
    for vae in (taesd[0], kl):
        shown, back, report, psnr, level = run("ImagenVAELoss", vae=vae, image=IMAGE, low_res_side=0)
        assert shown.shape == back.shape == (2, 64, 48, 3)
        (expected,) = run("VAEDecode", vae=vae, samples=run("VAEEncode", vae=vae, pixels=IMAGE[:1])[0])
        torch.testing.assert_close(back[:1], expected, atol=1e-5, rtol=0)
        worst = (back - IMAGE[:, 3:67]).square().mean((1, 2, 3)).max()
        assert psnr == pytest.approx(-10 * torch.log10(worst).item(), abs=0.05) and f"{psnr:.1f} dB" in report
        assert 0.0 < level < 1.0


def test_the_pixel_vae_loses_nothing(run):
    (vae,) = run("VAELoader", vae_name="pixel_space")
    *_, psnr, level = run("ImagenVAELoss", vae=vae, image=IMAGE)
    assert psnr > 90 and level == 0.0
    (empty,) = run("ImagenEmptyPixels", width=24, height=16, batch_size=2)
    image, level = run("ImagenLatentToImage", vae=vae, latent=empty)
    torch.testing.assert_close(image, torch.full((2, 16, 24, 3), 0.5))
    assert level == 0.0


def test_a_latent_is_decoded_as_comfyui_decodes_it(run, taesd):
    latent = {"samples": torch.randn(2, 4, 6, 8)}
    (expected,) = run("VAEDecode", vae=taesd[0], samples=latent)
    image, level = run("ImagenLatentToImage", vae=taesd[0], latent=latent, low_res_side=0)
    torch.testing.assert_close(image, expected, atol=1e-6, rtol=0)
    assert 0.0 < level < 1.0
    assert run("ImagenLatentToImage", vae=taesd[0], latent=latent, low_res_side=16)[0].shape == (2, 12, 16, 3)


def test_our_tiny_vae_is_comfyuis_and_its_nodes_take_it(run, core, pack, taesd, tmp_path):
    save_file(taesd[1], tmp_path / "both.safetensors")
    host = __import__("importlib").import_module(f"{pack.__name__}.nodes._host")
    ours = host.PictureVAE(core.load_vae(tmp_path / "both.safetensors", "sd1"))
    theirs = {"samples": taesd[0].encode(IMAGE)}
    found = run("VAEEncode", vae=ours, pixels=IMAGE)[0]
    torch.testing.assert_close(found["samples"], theirs["samples"], atol=1e-4, rtol=1e-4)
    (expected,) = run("VAEDecode", vae=taesd[0], samples=theirs)
    torch.testing.assert_close(run("VAEDecode", vae=ours, samples=theirs)[0], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name, form", [("SD15", "sd1"), ("SDXL", "sdxl"), ("SD3", "sd3"), ("Flux", "flux")])
def test_our_forms_of_latents_are_comfyuis(core, name, form):
    theirs, ours = getattr(comfy.latent_formats, name)(), core.LATENT_FORMS[form]
    assert (theirs.latent_channels, theirs.scale_factor) == (ours.channels, ours.scale)
    assert getattr(theirs, "shift_factor", 0.0) == ours.shift
