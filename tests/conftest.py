"""Begins with the files that take longest, so that no process is left alone with one at the end; a file stays whole."""

from __future__ import annotations

# `pytest --durations=0` sums up to these, and nothing breaks where they are no longer the longest.
LONGEST = (
    "test_editor_layout", "test_editor_session", "test_deepfloyd_pictures", "test_own_run", "test_editor_conversion",
    "test_stickers", "test_train_parallel", "test_architecture", "test_editor_runs", "test_lying_files",
    "test_workflows", "test_recipe", "test_batch_run", "test_editor_saved_graphs", "test_editor_app",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))
