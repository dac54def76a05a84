"""An ADM stage drawn and enlarged through the nodes, guided by a classifier: files as published, their bytes random."""

import pytest
import torch
from pack import CORE, NODES
from tiny_adm import written

DRAW = {"seed": 0, "steps": 2, "guidance_scale": 1.0, "sampler": "ddim", "width": 32, "height": 32, "batch_size": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("adm")


@pytest.fixture(scope="module")
def stage(folder):
    return CORE.load_stage(written(folder / "base.safetensors", "adm"))


@pytest.fixture(scope="module")
def classifier(folder):
    return CORE.load_classifier(written(folder / "classifier.safetensors", "adm_classifier"))


def guided(stage, classifier, *labels, scale=2.0):
    asked = NODES["ImagenClassLabel"]().make("1, 2")[0]
    guidance = None
    for label in labels:
        guidance = NODES["ImagenClassifierGuidance"]().make(classifier, label, scale, 0.0, 1.0, guidance)[0]
    return NODES["ImagenBaseSample64"]().sample(stage, asked, **DRAW, guidance=guidance)[0]


def test_a_class_is_drawn_and_classifiers_pull(stage, classifier):
    plain, pulled = guided(stage, classifier), guided(stage, classifier, "3")
    assert plain.shape == (2, 32, 32, 3) and torch.isfinite(pulled).all()
    assert (plain - pulled).abs().max() > 1e-4
    assert torch.equal(plain, guided(stage, classifier, "3", scale=0.0))
    both = guided(stage, classifier, "3", "4, 0")
    assert (both - pulled).abs().max() > 1e-4


def test_an_upsampler_enlarges_a_class_and_takes_no_noise(folder):
    enlarger = CORE.load_stage(written(folder / "up.safetensors", "adm", stem=6))
    assert enlarger.spec.stage == "sr64"
    asked = NODES["ImagenClassLabel"]().make("1")[0]
    small = torch.rand(1, 16, 16, 3)
    draw = CORE.Draw(seeds=(0,), steps=2)
    low_res = 2.0 * small.permute(0, 3, 1, 2) - 1.0
    large = CORE.super_resolve(enlarger, low_res, asked, draw, factor=2.0)
    assert large.shape == (1, 3, 32, 32) and torch.isfinite(large).all()
    with pytest.raises(ValueError, match="aug_level 0.1.*is told of no noise"):
        CORE.super_resolve(enlarger, low_res, asked, draw, factor=2.0, aug_level=0.1)


def test_a_label_of_another_classifier_is_named(classifier):
    with pytest.raises(ValueError, match="label 207 is no class of this classifier: it knows 5"):
        NODES["ImagenClassifierGuidance"]().make(classifier, "golden retriever", 1.0, 0.0, 1.0)
