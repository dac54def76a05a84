"""Imagen in pixel space, in pure torch: a frozen T5, a 64x64 base U-Net and two super-resolution U-Nets.

Text-to-image in four calls: `load_text_encoder`, `load_stage`, `encode_prompt`, `sample_base` with a `Draw`; then
`super_resolve`, twice. Importing this package reads, prints and downloads nothing.
"""

from ._discovery import settings_of
from ._walk import find_files
from .adapters import ADAPTERS, COMBINE, LINEAR, WEIGHT_TYPES, build_adapter
from .autoencoders.loading import find_vaes, load_vae
from .autoencoders.tiny import LATENT_FORMS, PixelSpace, TinyVAE
from .bands import super_resolve_bands
from .checkpoints.adapter_files import LoadedAdapter, find_adapters, load_adapter
from .checkpoints.conversion import convert_weights
from .checkpoints.formats import files_of, find_stages, is_stage_checkpoint, load_checkpoint, read_spec, trained_in_half
from .checkpoints.readers.control import AdapterSpec, save_adapter
from .checkpoints.readers.native import save_checkpoint
from .checkpoints.stage_spec import StageSpec
from .classes import Classes, labels_of
from .classifiers.loading import Classifier, find_classifiers, load_classifier
from .clip.config import ACTIVATIONS as CLIP_ACTIVATIONS
from .clip.loading import find_clips, load_clip
from .clip.model import Clip, clip_ranking
from .conditioning import Signals, TextEmbeds, joined, mapped, part_of
from .control import Control
from .draw import Draw
from .eight_bits import whole_again
from .fingerprint import Fingerprint
from .guidance import GUIDANCE, Guidance
from .guidance._gradient import thawed
from .guidance.classifier_free import rescale_guidance
from .half_precision import has_bfloat16_units, warn_where_imitated
from .hints import FITS, HINTS, strokes_to_lines
from .image_embeds import MIXINGS, image_embeds, moved_by_texts, read_as_clip, with_image_embed
from .inpainting import InitImage
from .inspection import inspect_checkpoint
from .interpolation import End, interpolate
from .inversion import invert
from .key_points import draw_key_points
from .lora import LoraSettings, draw_class, find_loras, fit_lora, read_lora, save_lora, with_lora
from .noise import BatchNoise
from .predictions import prediction_of
from .priors.prior import Prior, find_priors, load_prior, sample_prior
from .progress import CURVES, in_interval, progress_at
from .prompts import PicturedPrompt, Prompt, TypedPrompt, encode_prompt, typed_prompt
from .round_trip import heat_map, matching_aug_level, measure_round_trip, round_trip_report
from .samplers import MOVED, RESPACINGS, SAMPLERS, SPACINGS, STRIDES
from .sampling import low_res_conditioning, sample_base, super_resolve
from .schedules import SCHEDULES, Schedule
from .settings import make_guidance, make_thresholding
from .sidecars import check_fits, fingerprint
from .stage import Stage, load_stage
from .steering import Steered, Steering
from .super_resolution import fit, resize, resize_longest_side
from .text.listing import find_text_encoders
from .text.loading import load_text_encoder
from .text.movable import movable_weights
from .text.t5 import T5TextEncoder
from .thresholding import THRESHOLDINGS
from .thresholding.mimic import GuidedThresholding
from .tiling import Tiling
from .unets import build_unet
from .variance_exploding import sigma_ve_table, sigma_ve_to_t, t_to_sigma_ve
