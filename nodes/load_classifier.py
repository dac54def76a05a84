"""ImagenLoadClassifier: a noisy classifier, which guides."""

from ..imagen_core import find_classifiers, load_classifier
from . import _host, _sockets


class ImagenLoadClassifier:
    DISPLAY_NAME = "Imagen Load Classifier"
    DESCRIPTION = (
        "Loads a noisy classifier, a network that tells what a picture shows through the noise of a step. Reads OpenAI's "
        "64x64_classifier.pt to 512x512_classifier.pt, turned into safetensors by imagen convert. It works on pictures of "
        "its own size alone."
    )
    CATEGORY = "imagen/loaders"
    SEARCH_ALIASES = ["classifier guidance", "guided diffusion", "adm", "noisy classifier", "imagenet"]
    FUNCTION = "load"
    RETURN_TYPES = (_sockets.CLASSIFIER,)
    RETURN_NAMES = ("classifier",)
    OUTPUT_TOOLTIPS = ("The classifier, for Imagen Classifier Guidance.",)

    @classmethod
    def INPUT_TYPES(cls):
        tip = "A classifier's .safetensors under models/imagen, models/diffusion_models or in the pack's own models folder."
        return {"required": {"classifier_name": (_host.stage_names(find_classifiers), {"tooltip": tip})}}

    @classmethod
    def IS_CHANGED(cls, classifier_name):
        return _host.fingerprint(classifier_name, *_host.UNET_KINDS)

    def load(self, classifier_name):
        path = _host.model_path(classifier_name, *_host.UNET_KINDS)
        return (_host.managed(load_classifier(path, device=_host.load_device())),)
