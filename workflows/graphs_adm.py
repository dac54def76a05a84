"""Which graphs draw with ADM? Its weights do not ship; files are called as `imagen convert` calls them."""

from __future__ import annotations

from _layout import Graph, save

NETWORK, CLASSIFIER = "256x256_diffusion_uncond.safetensors", "256x256_classifier.safetensors"
ASKED, SCALES = "red fox", (0.0, 1.0, 2.0, 4.0, 8.0)
LICENCE = (
    "OpenAI's files of guided-diffusion: docs/family.md, section ADM, says how to fetch and convert them. Their model card "
    "says research, not commercial use."
)
# As published for this network, which was trained without classes: DDIM's 25 steps, and a pull of 10.
DRAW = {"steps": 25, "guidance_scale": 1.0, "sampler": "ddim", "width": 256, "height": 256}


def adm_classifier_guided(graph: Graph) -> None:
    """A network that knows no classes draws the one that a classifier asks for: ADM, 256x256."""
    graph.column("Say which class")
    text = graph.add("ImagenClassLabel", "Class", label="red fox")["text"]
    unet = graph.add("ImagenLoadUNet", "Load ADM", checkpoint=NETWORK)["unet"]
    graph.note(LICENCE)
    graph.column("Pull towards it")
    classifier = graph.add("ImagenLoadClassifier", "Load classifier", classifier_name=CLASSIFIER)["classifier"]
    guidance = graph.add(
        "ImagenClassifierGuidance", "Towards the class", classifier=classifier, label="red fox", scale=10.0
    )["guidance"]
    graph.note(
        "With 256x256_diffusion, which was trained on classes, a scale of 1 is enough, and both nodes name the class."
    )
    graph.column("Draw 256x256")
    image = graph.add("ImagenBaseSample64", "ADM", unet=unet, text=text, guidance=guidance, **DRAW)["image"]
    save(graph, image, "adm_classifier_guided")
    graph.app = {"Towards the class": ("label", "scale")}


def adm_classifier_scales(graph: Graph) -> None:
    """One noise under a classifier's pull of 0, 1, 2, 4 and 8: what is asked for appears, and variety goes."""
    graph.after_run = "fixed"
    graph.column("Say which class")
    text = graph.add("ImagenClassLabel", "Class", label=ASKED)["text"]
    unet = graph.add("ImagenLoadUNet", "Load ADM", checkpoint=NETWORK)["unet"]
    classifier = graph.add("ImagenLoadClassifier", "Load classifier", classifier_name=CLASSIFIER)["classifier"]
    graph.note(f"{LICENCE}\nThe same seed in each: change the class in every node of the row.")
    for scale in SCALES:
        graph.column(f"Scale {scale:g}")
        pull = {"classifier": classifier, "label": ASKED, "scale": scale}
        guidance = graph.add("ImagenClassifierGuidance", f"Towards the class, {scale:g}", **pull)["guidance"]
        drawn = graph.add("ImagenBaseSample64", f"ADM, {scale:g}", unet=unet, text=text, guidance=guidance, **DRAW)
        graph.add("SaveImage", f"scale {scale:g}", images=drawn["image"], filename_prefix=f"imagen/adm_scale_{scale:g}")


GRAPHS = [adm_classifier_guided, adm_classifier_scales]
