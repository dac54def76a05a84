"""Our socket types: what travels along a wire, one line each."""

TEXT_ENCODER = "IMAGEN_TEXT_ENCODER"  # a loaded, frozen text encoder (imagen_core.T5TextEncoder)
TEXT = "IMAGEN_TEXT"  # what is asked for: an encoded prompt (imagen_core.Prompt), or classes (imagen_core.Classes)
UNET = "IMAGEN_UNET"  # one loaded stage: network, schedule, description (imagen_core.Stage)
GUIDANCE = "IMAGEN_GUIDANCE"  # how prompt and null predictions combine (imagen_core.Guidance, or a tuple of them)
SAMPLER = "IMAGEN_SAMPLER"  # a sampler with its settings (imagen_core.Sampler), and a list of timesteps or None
THRESHOLD = "IMAGEN_THRESHOLD"  # how predicted pixels are kept in range (imagen_core.Thresholding)
CONTROL_NET = "IMAGEN_CONTROL_NET"  # a loaded control (imagen_core.LoadedAdapter)
CONTROL = "IMAGEN_CONTROL"  # hints that a picture follows (a tuple of imagen_core.Control)
CLIP = "IMAGEN_CLIP"  # a loaded CLIP that measures pictures against sentences (imagen_core.Clip)
CLASSIFIER = "IMAGEN_CLASSIFIER"  # a loaded noisy classifier (imagen_core.Classifier)
PRIOR = "IMAGEN_PRIOR"  # a loaded diffusion prior (imagen_core.Prior)
IMAGE_EMBED = "IMAGEN_IMAGE_EMBED"  # CLIP's embeddings of pictures (b e), as its projection gives them
IMAGE = "IMAGE"  # the host's own: float32 (b h w c) in 0..1
MASK = "MASK"  # the host's own: float32 (b h w) in 0..1, 1 where a picture is transparent or to be repainted
MODEL = "MODEL"  # the host's own: a network under its memory manager (ComfyUI only)
CLIP_VISION_OUTPUT = (
    "CLIP_VISION_OUTPUT"  # the host's own: what its CLIP Vision Encode sees in a picture (ComfyUI only)
)
HOST_CONTROL_NET = "CONTROL_NET"  # the host's own: what its Apply ControlNet takes (ComfyUI only)
CONDITIONING = "CONDITIONING"  # the host's own: what the prompt says (ComfyUI only)
LATENT = "LATENT"  # the host's own: {"samples": (b c h w)}; of our own models in ComfyUI, pixels in -1..1
VAE = "VAE"  # the host's own, or one of our tiny ones with its two calls (_host.PictureVAE)
