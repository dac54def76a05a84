"""Is a LoRA learned inside ComfyUI, and is its file the same in our loader and in ComfyUI's own?"""

import comfy.sd
import comfy.utils
import folder_paths
import torch

LEARNED = {"captions": "a red dot", "name": "mine", "steps": 4, "rank": 2, "learning_rate": 0.05, "seed": 1}
DRAWN = {"width": 16, "height": 16, "steps": 4, "seed": 5, "guidance_scale": 2.0, "sampler": "dpmpp_2m"}


class Encoder:
    """What the node asks of a text encoder, answered without weights: a token a word."""

    reopen = None

    def padding(self, choice="auto"):
        return None

    def __init__(self, core, width):
        self.core, self.width = core, width

    def encode(self, texts, pad_to=None):
        rows = torch.tensor([[float(len(word)) for word in text.split()] for text in texts])
        embeds = rows[..., None].expand(-1, -1, self.width).sin()
        return self.core.TextEmbeds(embeds=embeds, mask=torch.ones(embeds.shape[:2], dtype=torch.bool))


def test_learned_and_loaded_by_either_it_draws_the_same(run, core, make_stage, prompt, tmp_path, monkeypatch):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    stage = make_stage()
    plain = run("ImagenBaseSample64", unet=stage, text=prompt, **DRAWN)[0]
    images = torch.rand(2, 20, 20, 3, generator=torch.Generator().manual_seed(0))
    encoder = Encoder(core, stage.spec.unet_config.text_embed_dim)
    trained, name = run(
        "ImagenTrainLoRA", unet=stage, text_encoder=encoder, images=images, batch_size=2, side=16, **LEARNED
    )
    drawn = run("ImagenBaseSample64", unet=trained, text=prompt, **DRAWN)[0]
    assert (drawn - plain).abs().max() > 1e-3
    assert torch.equal(run("ImagenBaseSample64", unet=stage, text=prompt, **DRAWN)[0], plain)  # the stage is as it was
    loaded = run("ImagenLoadLoRA", unet=stage, lora_name=name, strength=0.7)[0]

    model = run("ImagenToModel", unet=stage, text=prompt)[0]
    file = comfy.utils.load_torch_file(str(tmp_path / name))
    patched, _ = comfy.sd.load_lora_for_models(model, None, file, 0.7, 0.0)
    layers = [key for key in file if key.endswith(".lora_up.weight")]
    assert len(patched.patches) == len(layers) > 10, "ComfyUI knows every layer of the file by its name"
    patched.patch_model()
    theirs = patched.model.diffusion_model.state_dict()
    for key, ours in loaded.unet.state_dict().items():
        torch.testing.assert_close(theirs[key].float(), ours.float(), rtol=1e-5, atol=1e-6)


def test_it_fits_weights_that_stay_in_eight_bits(run, core, make_stage, prompt, tmp_path, monkeypatch):
    """Loaded by the node, moved by ComfyUI, and patched by its own LoRA loader as by ours."""
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "loras", ([str(tmp_path)], {".safetensors"}))
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "imagen", ([str(tmp_path)], {".safetensors"}))
    stage = make_stage()
    core.save_checkpoint(tmp_path / "coarse.safetensors", stage.unet, spec=stage.spec)
    whole, small = (
        run("ImagenLoadUNet", checkpoint="coarse.safetensors", weight_dtype=kind)[0] for kind in ("default", "int8")
    )
    coarse = [name for name, buffer in small.unet.named_buffers() if buffer.dtype == torch.int8]
    assert len(coarse) > 3 and small.dtype == whole.dtype
    plain, drawn = (run("ImagenBaseSample64", unet=each, text=prompt, **DRAWN)[0] for each in (whole, small))
    assert 0 < (drawn - plain).abs().max() < 0.1
    encoder = Encoder(core, stage.spec.unet_config.text_embed_dim)
    images = torch.rand(2, 20, 20, 3, generator=torch.Generator().manual_seed(0))
    learned = {"text_encoder": encoder, "images": images, "batch_size": 2, "side": 16, **LEARNED}
    _, name = run("ImagenTrainLoRA", unet=small, **learned)
    loaded = run("ImagenLoadLoRA", unet=small, lora_name=name, strength=0.7)[0]

    model = run("ImagenToModel", unet=small, text=prompt)[0]
    file = comfy.utils.load_torch_file(str(tmp_path / name))
    patched, _ = comfy.sd.load_lora_for_models(model, None, file, 0.7, 0.0)
    patched.patch_model()
    network = patched.model.diffusion_model
    for key in coarse:
        layer = key.removesuffix(".weight")
        theirs, ours, before = (each.get_submodule(layer) for each in (network, loaded.unet, small.unet))
        torch.testing.assert_close(theirs.weight, ours.weight, rtol=0.0, atol=0.6 * ours.weight_scale.max().item())
        assert not torch.equal(ours.weight, before.weight) and type(theirs.weight) is torch.nn.Parameter
