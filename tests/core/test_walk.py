"""Does every list of models pass over what may not be read, and find the rest?"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from t5_files import make_folder

from imagen_core import find_files, find_stages, find_text_encoders

NOBODY = 65534
NOT_FOR_US = {"lost+found": 0o000, "named only": 0o444, "entered only": 0o111}


@pytest.fixture
def root():
    """Folders that nobody may look into, read or search, between models; the test runs as a user who is bound by that."""
    root = Path(tempfile.mkdtemp())  # not tmp_path, which only its owner may enter
    root.chmod(0o755)
    make_folder(root / "zz-t5")
    for name, mode in NOT_FOR_US.items():
        for folder in (root, root / "deep"):
            (folder / name).mkdir(parents=True)
            save_file({"encoder_pooling.1.positional_embedding": torch.zeros(1)}, folder / name / "hidden.safetensors")
            (folder / name / "unet").mkdir()
            (folder / name).chmod(mode)
    save_file({"encoder_pooling.1.positional_embedding": torch.zeros(1)}, root / "stage.safetensors")
    (root / "to nothing").symlink_to(root / "absent")
    (root / "to itself").symlink_to(root / "to itself")
    (root / "too long").symlink_to("x" * 3000)
    for path in (root / "stage.safetensors", *(root / "zz-t5").iterdir()):
        path.chmod(0o644)
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    yield root
    os.seteuid(was)
    for name in NOT_FOR_US:
        for folder in (root, root / "deep"):
            (folder / name).chmod(0o755)
    shutil.rmtree(root)


def test_folders_that_may_not_be_read_are_passed_over(root):
    assert not os.access(root / "lost+found", os.R_OK, effective_ids=True)
    assert list(find_stages(root)) == [root / "stage.safetensors"]
    assert list(find_text_encoders(root)) == [root / "zz-t5"]
    assert list(find_files(root, "tokenizer.json")) == [root / "zz-t5" / "tokenizer.json"]
    assert root / "zz-t5" / "config.json" in find_files(root)
    assert list(find_stages(root / "lost+found")) == list(find_files(root / "absent")) == []
