"""Does this checkout draw what another one draws, bit for bit? Prints Markdown.

    git worktree add --detach ../before 6adbdb2        # 0.1 as it was before room was made for the family
    python benchmarks/same_pictures.py --against ../before --comfyui PATH_OF_COMFYUI --comfyui-python ITS_PYTHON

The other checkout saves tiny stages in its own format, both load them, the weights that it ships and a tiny DeepFloyd IF
of diffusers', and each draws every picture of drawn_here.py in a process of its own. Exit code 1 where one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent


def main() -> int:
    options = parse()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / f"before{'_and_bridge' * bool(options.comfyui)}.safetensors"
        if not kept.exists():
            run(options.against, folder, "write")
            shutil.copytree(options.against / "models" / "imagen-mini", folder / "imagen-mini", dirs_exist_ok=True)
            write_deepfloyd(folder)
            lay_on_boundaries(folder)
            save_file(drawn_by(options.against, folder, options), kept)
        return report(load_file(kept), drawn_by(ROOT, folder, options))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, metavar="CHECKOUT", help="what the pictures are held to")
    parser.add_argument("--comfyui", metavar="PATH", help="a checkout of ComfyUI, for the native bridge")
    parser.add_argument(
        "--comfyui-python", default=sys.executable, metavar="PYTHON", help="an interpreter that can run it"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="where stages and the other checkout's pictures stay"
    )
    return parser.parse_args()


def write_deepfloyd(models: Path) -> None:
    sys.path.insert(0, str(ROOT / "tests"))
    import deepfloyd_fixtures as fixtures

    for stage in ("base64", "sr256"):
        fixtures.save_folder(models / f"if_{stage}", stage, fixtures.tiny_unet(stage))


def lay_on_boundaries(models: Path) -> None:
    """The tiny stages again, each weight at a multiple of 64 bytes: elsewhere 0.1's kernels rounded otherwise."""
    sys.path.insert(0, str(ROOT))
    from imagen_core._safetensors import write_safetensors

    for path in models.glob("tiny_*.safetensors"):
        with safe_open(path, "pt") as file:
            weights, metadata = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        write_safetensors(path.with_name(f"aligned_{path.name}"), weights, metadata)


def drawn_by(checkout: Path, models: Path, options: argparse.Namespace) -> dict[str, Tensor]:
    pictures = run(checkout, models, "draw")
    if options.comfyui:
        pictures |= run(checkout, models, "bridge", options.comfyui, python=options.comfyui_python)
    return pictures


def run(checkout: Path, models: Path, what: str, *more: str, python: str = sys.executable) -> dict[str, Tensor]:
    """What a process of its own draws with that checkout's code and weights."""
    checkout, target = checkout.resolve(), models / f"{what}.safetensors.drawn"
    places = {"PYTHONPATH": str(checkout), "IMAGEN_MODELS": str(models), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [python, str(HERE / "drawn_here.py"), str(checkout), str(models), what, str(target), *more]
    subprocess.run(command, env={**os.environ, **places}, check=True)
    return load_file(target) if target.exists() else {}


def report(before: dict[str, Tensor], after: dict[str, Tensor]) -> int:
    print("| picture | sha256 before | sha256 now | |\n| --- | --- | --- | --- |")
    different = [name for name in before if not same(name, before[name], after[name])]
    print(f"\n{len(before) - len(different)} of {len(before)} pictures are the same to the last bit.")
    return 1 if different else 0


def same(name: str, before: Tensor, after: Tensor) -> bool:
    equal = digest(before) == digest(after)
    print(f"| {name} | {digest(before)} | {digest(after)} | {'equal' if equal else difference(before, after)} |")
    return equal


def digest(picture: Tensor) -> str:
    return hashlib.sha256(picture.numpy().tobytes()).hexdigest()[:12]


def difference(before: Tensor, after: Tensor) -> str:
    if before.shape != after.shape:
        return f"**shape {tuple(before.shape)} is now {tuple(after.shape)}**"
    return f"**differs by at most {(before - after).abs().max():.2e}**"


if __name__ == "__main__":
    sys.exit(main())
