"""How does one of our stages become a MODEL of ComfyUI's own, for KSampler, schedulers, LoRA loaders and patches?

Pixels in [-1, 1] stand where latents usually do. Imported only under ComfyUI, when such a model is made.
Shapes: b images, c h w a picture, l text tokens, d text width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from comfy import conds, latent_formats, model_base, model_management, model_sampling
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from comfy.supported_models_base import BASE
from torch import Tensor, nn

from ...imagen_core import (
    BatchNoise,
    Control,
    Prompt,
    Schedule,
    Signals,
    Stage,
    Steered,
    TextEmbeds,
    low_res_conditioning,
    prediction_of,
    sigma_ve_table,
    sigma_ve_to_t,
    t_to_sigma_ve,
    whole_again,
)
from .castable import castable, unnoted
from .comfy_memory import CASTABLE, NetworkPatcher
from .native_control import FOREIGN_CONTROL, chained, check_ours

LOW_RES, AUG_LEVEL, AUG_SEED = "imagen_low_res", "imagen_aug_level", "imagen_aug_seed"  # in a CONDITIONING's options
POOLED, IMAGE_EMBED = "imagen_pooled", "imagen_image_embed"  # of stages that draw what an image embedding says
# x_0 from the network's output at k-diffusion's border; the model types matter only to nodes that save models.
CONVERSIONS = {"eps": model_sampling.EPS, "v": model_sampling.V_PREDICTION, "x_0": model_sampling.X0}
MODEL_TYPES = {"v": model_base.ModelType.V_PREDICTION}


class Pixels(latent_formats.LatentFormat):
    """Three channels that are red, green and blue in [-1, 1], to be shown as they are."""

    latent_channels = 3
    spacial_downscale_ratio = 1  # its name in newer ComfyUIs, which fit an EmptyLatentImage by it: a pixel is a pixel

    def __init__(self) -> None:
        self.latent_rgb_factors = torch.eye(3).tolist()


class ModelConfig(BASE):
    """What ComfyUI asks of any model besides its weights."""

    unet_extra_config = {}
    latent_format = Pixels


class ScheduleSampling(nn.Module):
    """One of our noise schedules, as ComfyUI's samplers and schedulers ask for it: in sigma_ve and network times."""

    sigma_data = 1.0

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule = schedule
        self._time_ends = schedule.network_time(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        sigmas = sigma_ve_table(schedule)
        self.register_buffer("sigmas", sigmas.float(), persistent=False)
        self.register_buffer("log_sigmas", sigmas.log().float(), persistent=False)

    @property
    def sigma_min(self) -> Tensor:
        return self.sigmas[0]

    @property
    def sigma_max(self) -> Tensor:
        return self.sigmas[-1]

    def timestep(self, sigma: Tensor) -> Tensor:
        """What the network's time embedding is fed at this sigma_ve."""
        return self.schedule.network_time(sigma_ve_to_t(self.schedule, sigma)).to(sigma)

    def sigma(self, timestep: Tensor) -> Tensor:
        """The inverse of `timestep`, which every schedule has linear in t."""
        first, last = self._time_ends
        return t_to_sigma_ve(self.schedule, (timestep - first) / (last - first)).to(timestep)

    def percent_to_sigma(self, percent: float) -> float:
        """sigma_ve at a share of the way from noise to picture; beyond every sigma at the ends, as ComfyUI has it."""
        if percent <= 0.0:
            return 999999999.9
        if percent >= 1.0:
            return 0.0
        return float(t_to_sigma_ve(self.schedule, torch.tensor(1.0 - percent, dtype=torch.float64)))


class AnyPrediction(model_sampling.EPS):
    """The way in and out where ComfyUI has no conversion: other prediction types, and inputs that a schedule scales."""

    prediction_type: str
    schedule: Schedule

    def calculate_input(self, sigma: Tensor, noise: Tensor) -> Tensor:
        x_t = super().calculate_input(sigma, noise)
        scale = self.schedule.input_scale(sigma_ve_to_t(self.schedule, sigma))
        return x_t if scale is None else x_t * model_sampling.reshape_sigma(scale, x_t.ndim)

    def calculate_denoised(self, sigma: Tensor, model_output: Tensor, model_input: Tensor) -> Tensor:
        x_t = super().calculate_input(sigma, model_input)
        sigma = model_sampling.reshape_sigma(sigma, x_t.ndim)
        alpha = (1.0 + sigma**2) ** -0.5
        return prediction_of(self.prediction_type).to_x_0(model_output, x_t, alpha, sigma * alpha)


class Tokens(conds.CONDRegular):
    """Values a token, (b l d): batched with a longer prompt's by zeros at the end, which the mask says are none."""

    def can_concat(self, other: Tokens) -> bool:
        return self.cond.shape[::2] == other.cond.shape[::2] and self.cond.device == other.cond.device

    def concat(self, others: list[Tokens]) -> Tensor:
        every = [self.cond, *(other.cond for other in others)]
        longest = max(tokens.shape[1] for tokens in every)
        return torch.cat([nn.functional.pad(tokens, (0, 0, 0, longest - tokens.shape[1])) for tokens in every])


class ImagenPixelModel(model_base.BaseModel):
    """A stage whose weights patches may change without the loaded stage's own changing."""

    def __init__(self, stage: Stage, rest_device: torch.device) -> None:
        config = ModelConfig({"disable_unet_model_creation": True})
        super().__init__(config, MODEL_TYPES.get(stage.spec.prediction_type, model_base.ModelType.EPS))
        self.diffusion_model = _own_parameters(stage.unet, rest_device)
        # Of the given stage nothing is kept, so that ComfyUI may free it.
        self.stage = Stage(unet=self.diffusion_model, schedule=stage.schedule, spec=stage.spec)
        self.model_sampling = _sampling(stage)

    def get_dtype(self) -> torch.dtype:
        return next(parameter.dtype for parameter in self.diffusion_model.parameters())

    def memory_required(self, input_shape, cond_shapes=None) -> int:
        """Bytes that a batch of this shape takes besides the weights."""
        rows, _, height, width = input_shape
        return rows * self.stage.activation_bytes(height, width)

    def extra_conds(self, **options) -> dict[str, conds.CONDRegular]:
        """What one CONDITIONING says, in the form that ComfyUI repeats, crops and batches."""
        found = {}
        check_ours(options.get("control"))  # before one runs, which would end in a shape that fits nothing
        if self.stage.reads_text:
            embeds = options["cross_attn"]
            self._check_width(embeds)
            found["c_crossattn"] = Tokens(embeds)
            found["text_mask"] = Tokens(_token_mask(options.get("attention_mask"), embeds))
        if self.stage.reads_images:
            found |= {name: conds.CONDRegular(options[name]) for name in (POOLED, IMAGE_EMBED)}
        if self.stage.spec.enlarges:
            picture = self._low_res(options)
            found["low_res"] = conds.CONDNoiseShape(picture.pixels)
            found["aug_level"] = conds.CONDRegular(picture.aug_level)
        return found

    def _check_width(self, embeds: Tensor) -> None:
        wanted = self.stage.spec.unet_config.text_embed_dim
        if embeds.shape[-1] != wanted:
            raise ValueError(
                f"this CONDITIONING is {embeds.shape[-1]} wide, and the {self.stage.spec.stage} stage reads T5's of width"
                f" {wanted}: connect positive and negative of Imagen To Model, not those of another text encoder"
            )

    def _low_res(self, options: dict) -> Signals:
        """The small picture at the size being drawn, noised as Imagen Super Resolution noises it for this seed."""
        if LOW_RES not in options:
            raise ValueError(
                f"the {self.stage.spec.stage} stage enlarges a picture, and this CONDITIONING holds none: connect"
                " low_res of Imagen To Model, and use its positive and negative"
            )
        like, device = options["noise"], options["device"]
        draw = BatchNoise(range(options[AUG_SEED], options[AUG_SEED] + like.shape[0]))
        draw(tuple(like.shape[1:]))  # the first noise of a seed is what the picture is drawn from
        noise = draw(tuple(like.shape[1:]), device)
        low_res = options[LOW_RES].to(noise)
        if low_res.shape[0] not in (1, like.shape[0]):
            raise ValueError(f"{low_res.shape[0]} small pictures for {like.shape[0]} pictures: give one, or one each")
        return low_res_conditioning(
            self.stage, low_res.expand(like.shape[0], *low_res.shape[1:]), options[AUG_LEVEL], noise
        )

    def _apply_model(self, x, t, c_concat=None, c_crossattn=None, control=None, transformer_options={}, **kwargs):  # noqa: B006
        """x_0 (b 3 h w) of x = x_0 + sigma_ve eps at sigma_ve = t (b,); named and called by ComfyUI."""
        if isinstance(control, dict):  # what ControlNets of ComfyUI's own give
            raise ValueError(FOREIGN_CONTROL)
        steered = Steered(self.diffusion_model)
        network_call = WrapperExecutor.new_class_executor(
            lambda x_t, time, told, options: steered(x_t, time, told),
            self.diffusion_model,
            get_all_wrappers(WrappersMP.DIFFUSION_MODEL, transformer_options),
        )
        x_t = self.model_sampling.calculate_input(t, x).to(self.get_dtype())
        time = self.model_sampling.timestep(t).float()
        told = self.conditions(x_t, {"c_crossattn": c_crossattn, **kwargs})[1] + Signals(steering=control or ())
        output = network_call.execute(x_t, time, told, transformer_options).float()
        # A learned variance fills the channels behind the picture's; ComfyUI's samplers have no use for it.
        return self.model_sampling.calculate_denoised(t, output[:, : x.shape[1]], x)

    def conditions(self, like: Tensor, cond: dict[str, Any]) -> tuple[TextEmbeds | None, Signals]:
        """What ComfyUI's batch of conditions says: its text as it was encoded, and what the network is told, both on the
        device of `like`. Text is projected anew at each call: LoRAs change the projections, areas the text.
        """
        text, told = self._text(like, cond), Signals()
        if text is not None:
            told = told + self.diffusion_model.encode_text(text)
        if IMAGE_EMBED in cond:
            told = self.diffusion_model.encode_image(cond[IMAGE_EMBED].to(like)) + told
        if "low_res" in cond:
            told = told + Signals(pixels=cond["low_res"].to(like), aug_level=cond["aug_level"].to(like.device))
        return text, told

    def _text(self, like: Tensor, cond: dict[str, Any]) -> TextEmbeds | None:
        if cond.get("c_crossattn") is None:
            return None
        text = TextEmbeds(embeds=cond["c_crossattn"], mask=cond["text_mask"][..., 0] > 0.5, pooled=cond.get(POOLED))
        return text.to(like.device, None if self.stage.text_dtype is None else like.dtype)


def native_model(stage: Stage) -> NetworkPatcher:
    """The stage as a MODEL, resting on the device where ComfyUI keeps U-Nets that do not run."""
    rest = model_management.unet_offload_device()
    return NetworkPatcher(ImagenPixelModel(stage, rest), model_management.get_torch_device(), rest)


def conditionings(
    stage: Stage,
    prompt: Prompt | None,
    low_res: Tensor | None,
    aug_level: float,
    aug_seed: int,
    controls: Sequence[Control] = (),
) -> tuple[list, list]:
    """The positive and the negative CONDITIONING of such a model; `low_res` (b 3 h w) in [-1, 1].

    controls: hints and references that it brings along, as ComfyUI's nodes would have joined them to it. Raises ValueError
    for a stage that lacks its prompt or its small picture, or has one that it cannot use.
    """
    if (low_res is None) == stage.spec.enlarges:
        problem = "draws and takes no low_res" if low_res is not None else "enlarges a picture: connect low_res"
        raise ValueError(f"the {stage.spec.stage} stage {problem}")
    options = {} if low_res is None else {LOW_RES: low_res, AUG_LEVEL: aug_level, AUG_SEED: aug_seed}
    if (chain := chained(controls)) is not None:  # one for both, so that ComfyUI draws them in one pass
        options |= {"control": chain, "control_apply_to_uncond": False}
    if not stage.reads_text:  # a CONDITIONING holds text, so there is one token that nobody reads
        return [[torch.zeros(1, 1, 1), options]], [[torch.zeros(1, 1, 1), options]]
    prompt = stage.read(prompt)
    negative = prompt.negative or TextEmbeds.null(1, stage.spec.unet_config.text_embed_dim)
    images = (stage.image_embed(prompt), stage.unet.null_image[None]) if stage.reads_images else (None, None)
    told = zip((prompt.text, negative), images, strict=True)
    return tuple([[text.embeds, options | _mask_option(text.mask) | _seen(text, image)]] for text, image in told)


def _seen(text: TextEmbeds, image: Tensor | None) -> dict[str, Tensor]:
    """What a stage that reads image embeddings is told besides tokens."""
    return {} if image is None else {POOLED: text.pooled, IMAGE_EMBED: image.detach().float().cpu()}


def _mask_option(mask: Tensor) -> dict[str, Tensor]:
    """Under the name that ComfyUI's own nodes give it; only where a token is not real, so that nodes may append some."""
    return {} if bool(mask.all()) else {"attention_mask": mask}


def _sampling(stage: Stage) -> nn.Module:
    """`ScheduleSampling` with the conversion of the stage's prediction type."""

    wanted, unscaled = stage.spec.prediction_type, stage.schedule.input_scale(torch.ones(())) is None

    class ImagenSampling(ScheduleSampling, CONVERSIONS.get(wanted, AnyPrediction) if unscaled else AnyPrediction):
        prediction_type = wanted

    return ImagenSampling(stage.schedule)


def _own_parameters(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with Parameters of its own that share the weights' memory, so that patching replaces only these.

    Layers in eight bits become plain ones, whose weights ComfyUI's patches reach: it looks at Parameters alone.
    """
    shared = {id(tensor): tensor.detach().to(device) for tensor in [*network.parameters(), *network.buffers()]}
    for parameter in network.parameters():
        shared[id(parameter)] = nn.Parameter(shared[id(parameter)], requires_grad=False)
    return castable(unnoted(whole_again(copy.deepcopy(network, shared))), CASTABLE)


def _token_mask(mask: Tensor | None, embeds: Tensor) -> Tensor:
    """(b l 1) float32, 1 where a token is real; tokens that another node appended are."""
    whole = embeds.new_ones(*embeds.shape[:2], 1, dtype=torch.float32)
    if mask is not None:
        given = mask.reshape(-1, mask.shape[-1])[:, : embeds.shape[1], None].to(whole)
        whole[:, : given.shape[1]] = given
    return whole
