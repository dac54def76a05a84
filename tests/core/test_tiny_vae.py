"""Does a tiny VAE put out what diffusers' AutoencoderTiny does, from each layout? Layouts tested, published weights not."""

import pytest
import torch
from safetensors.torch import save_file

from imagen_core.autoencoders.loading import find_vaes, load_vae
from imagen_core.autoencoders.tiny import LATENT_FORMS, TinyAutoencoder

SIZES = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
PICTURE = torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def peer():
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    return diffusers.AutoencoderTiny(latent_channels=4, **SIZES).eval()


def pair(peer, folder):
    """TAESD's two files: plain numbers, the decoder's counting its clamp."""
    parts = {"encoder": {}, "decoder": {}}
    for name, weight in peer.state_dict().items():
        part, _, number, rest = name.split(".", 3)
        parts[part][f"{int(number) + (part == 'decoder')}.{rest}"] = weight.contiguous()
    for part, weights in parts.items():
        save_file(weights, folder / f"taesd_{part}.safetensors")
    return folder / "taesd_decoder.safetensors"


def both(peer, folder):
    """ComfyUI's single file."""
    weights = {}
    for name, weight in peer.state_dict().items():
        part, _, number, rest = name.split(".", 3)
        weights[f"taesd_{part}.{int(number) + (part == 'decoder')}.{rest}"] = weight.contiguous()
    save_file(weights | {"vae_scale": torch.tensor(1.0)}, folder / "both.safetensors")
    return folder / "both.safetensors"


def hub(peer, folder):
    peer.save_pretrained(folder / "taesd")
    return folder / "taesd"


@pytest.mark.parametrize("layout", [pair, both, hub])
@torch.inference_mode()
def test_equals_diffusers(layout, peer, tmp_path):
    path = layout(peer, tmp_path)
    assert [*find_vaes(tmp_path)] == [path]
    vae, scale = load_vae(path, "sdxl"), LATENT_FORMS["sdxl"].scale
    z = peer.encode(PICTURE).latents
    torch.testing.assert_close(vae.encode(PICTURE), z / scale, atol=5e-5, rtol=1e-5)
    torch.testing.assert_close(vae.decode(5.0 * z / scale), peer.decode(5.0 * z).sample, atol=5e-5, rtol=1e-5)


def test_the_published_sizes_have_the_published_number_of_weights():
    """2,445,063 of madebyollin/taesd: both parts, 4 channels."""
    with torch.device("meta"):
        assert sum(weight.numel() for weight in TinyAutoencoder(4).parameters()) == 2_445_063


def test_a_decoder_alone_decodes_and_says_what_it_lacks(peer, tmp_path):
    path = pair(peer, tmp_path)
    (tmp_path / "taesd_encoder.safetensors").unlink()
    vae = load_vae(path)
    assert vae.decode(torch.zeros(1, 4, 2, 3)).shape == (1, 3, 16, 24)
    with pytest.raises(ValueError, match="decoder alone.*taesd_encoder"):
        vae.encode(PICTURE)


def test_other_latents_other_files_and_cut_ones_are_refused(peer, tmp_path):
    path = pair(peer, tmp_path)
    with pytest.raises(ValueError, match="4 channels, and sd3 has 16: choose sd1, sdxl"):
        load_vae(path, "sd3")
    with pytest.raises(ValueError, match="latents are 'sd9'"):
        load_vae(path, "sd9")
    save_file({"conv.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="other.safetensors is no tiny VAE"):
        load_vae(tmp_path / "other.safetensors")
    assert tmp_path / "other.safetensors" not in find_vaes(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_vae(tmp_path / "missing.safetensors")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ValueError, match="taesd_decoder.safetensors"):
        load_vae(path)
