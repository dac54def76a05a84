"""Which names of ComfyUI's does the pack lean on, and which of its objects' attributes? Nothing else may be leaned on.

test_host_surface.py holds this list against our code, without a ComfyUI; tests/comfyui/inside/check_surface.py holds it
against a real one, so that a version that drops a name says which.
"""

import ast

# Module or class: {name: the keywords we call it with, None where we do not call it}
NAMES = {
    "folder_paths": {
        "base_path": None,
        "folder_names_and_paths": None,
        "get_folder_paths": (),
        "models_dir": None,
    },
    "nodes": {"LoadImage": None},
    "comfy.cli_args": {"args": None},
    "comfy.conds": {"CONDNoiseShape": (), "CONDRegular": ()},
    "comfy.controlnet": {"ControlBase": None},
    "comfy.latent_formats": {"LatentFormat": None},
    "comfy.model_base": {"BaseModel": None, "ModelType": None},
    "comfy.model_base.ModelType": {"EPS": None, "V_PREDICTION": None},
    "comfy.model_management": {
        "free_memory": (),
        "get_free_memory": (),
        "get_torch_device": (),
        "load_models_gpu": ("memory_required", "minimum_memory_required"),
        "minimum_inference_memory": (),
        "text_encoder_device": (),
        "text_encoder_offload_device": (),
        "throw_exception_if_processing_interrupted": (),
        "unet_dtype": ("device", "supported_dtypes"),
        "unet_manual_cast": (),
        "unet_offload_device": (),
    },
    "comfy.model_patcher": {"ModelPatcher": None},
    "comfy.model_sampling": {"EPS": None, "V_PREDICTION": None, "X0": None, "reshape_sigma": ()},
    "comfy.ops": {"disable_weight_init": None},
    "comfy.patcher_extension": {"WrapperExecutor": None, "WrappersMP": None, "get_all_wrappers": ()},
    "comfy.patcher_extension.WrapperExecutor": {"new_class_executor": ()},
    "comfy.patcher_extension.WrappersMP": {"DIFFUSION_MODEL": None, "PREDICT_NOISE": None},
    "comfy.supported_models_base": {"BASE": None},
    "comfy.utils": {"ProgressBar": None},
}
# Classes of ComfyUI's: {what we call, read or override on them: the keywords we call it with}
ATTRIBUTES = {
    "comfy.cli_args.args": {"force_fp32": None, "fp32_unet": None},
    "comfy.conds.CONDRegular": {"can_concat": (), "concat": ()},
    "comfy.controlnet.ControlBase": {
        "cleanup": (),
        "copy_to": (),
        "get_models": (),
        "pre_run": (),
        "set_previous_controlnet": (),
    },
    "comfy.model_base.BaseModel": {"_apply_model": (), "extra_conds": (), "get_dtype": (), "memory_required": ()},
    "comfy.model_patcher.ModelPatcher": {
        "add_wrapper_with_key": (),
        "clone": (),
        "get_model_object": (),
        "load": (),
        "set_model_sampler_post_cfg_function": (),
    },
    "comfy.ops.disable_weight_init": dict.fromkeys(("Linear", "Conv2d", "GroupNorm", "LayerNorm", "Embedding")),
    "comfy.patcher_extension.WrapperExecutor": {"execute": ()},
    "comfy.sd.CLIP": {"load_model": ()},
    "comfy.sd.VAE": {"decode": (), "encode": ()},
    "comfy.sd1_clip.SDClipModel": {"encode": (), "reset_clip_options": ()},
    "comfy.utils.ProgressBar": {"update_absolute": ()},
    "nodes.LoadImage": {"FUNCTION": None, "INPUT_TYPES": (), "IS_CHANGED": ("image",), "VALIDATE_INPUTS": ("image",)},
}
TOP = {name.partition(".")[0] for name in NAMES}


def recorded() -> set[str]:
    return {f"{module}.{name}" for module, names in NAMES.items() for name in names}


def leaned_on(source: str) -> set[str]:
    """The dotted names of ComfyUI's that a module of ours imports or reads; as far as they are recorded, where they are."""
    tree = ast.parse(source)
    known = {"folder_paths": "folder_paths", "model_management": "comfy.model_management"}  # from which.py
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            known |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
        if isinstance(node, ast.Import):
            imported = [each.name for each in node.names if each.asname is None]
            known |= {name.partition(".")[0]: name.partition(".")[0] for name in imported}
            known |= {each.asname: each.name for each in node.names if each.asname}
    names = set(known.values()) | {_dotted(node, known) for node in ast.walk(tree)}
    ours = {name for name in names if name and name.partition(".")[0] in TOP}
    return {_recorded_part(name) for name in ours} - {*NAMES, *TOP} | ours & recorded()


def _recorded_part(name: str) -> str:
    """A method of what is recorded is no name of its own."""
    parts = name.split(".")
    starts = [".".join(parts[:count]) for count in range(2, len(parts))]
    return next((start for start in starts if start in recorded() and start not in NAMES), name)


def _dotted(node: ast.AST, known: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
        return getattr(node.args[0], "value", None)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, known)
        return before and f"{before}.{node.attr}"
    return None
