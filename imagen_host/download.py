"""`imagen download`: how does a published model folder come onto the disk, whole and without what nobody here reads?

Through huggingface_hub, which shows progress and resumes. Never pickles; of twins in fp32 and fp16 only one.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from . import runtime
from .places import home, place

WEIGHTS = (".safetensors", ".gguf")
PICKLES = (".bin", ".pt", ".ckpt", ".pth", ".msgpack", ".h5")
SETTINGS = (".json", ".yml", ".yaml", ".model", ".md", ".txt")  # configs, tokenizers, the model card
# Of a pipeline, what we read.
PARTS = ("unet", "transformer", "text_encoder", "tokenizer", "scheduler", "image_noising_scheduler")
UNREAD = re.compile(r"(^|/)(optimizer|training_args|flax_|tf_|rust_)|\.8bit\.|^(onnx|openvino|coreml)/")


def add_download(commands: argparse._SubParsersAction) -> None:
    """Add the command to the parser's `commands`."""
    download = commands.add_parser("download", help="fetch a published model, such as DeepFloyd/IF-I-M-v1.0")
    add = download.add_argument
    add("repo", metavar="REPO", help="OWNER/NAME on the Hugging Face hub")
    add("--revision", metavar="REV", help="a branch, tag or commit (default: main)")
    add("--include", action="append", default=[], metavar="PATTERN", help="only files like this, e.g. 'unet/*'")
    add(
        "--variant",
        default="fp16",
        metavar="NAME",
        help="which twin of the weights, where there are twins (fp16; none)",
    )
    add("--to", metavar="DIR", help="a models folder (default: the first of IMAGEN_MODELS, else the pack's models/)")
    add("--dry-run", action="store_true", help="print what would be fetched, and its size")
    download.set_defaults(handler=download_model)


def download_model(options: argparse.Namespace) -> None:
    """Fetch, and print the folder. ValueError, in one line, for whatever keeps the files from coming."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", options.repo):
        raise ValueError(f"{options.repo!r} names no repository: give OWNER/NAME, as in DeepFloyd/IF-I-M-v1.0")
    target = models_folder(options.to) / options.repo.rpartition("/")[2]
    _without_home(target)
    try:
        import huggingface_hub
    except ImportError as error:
        raise ValueError("imagen download needs the huggingface_hub package: pip install huggingface_hub") from error
    try:
        info = huggingface_hub.HfApi().model_info(options.repo, revision=options.revision, files_metadata=True)
        sizes = {file.rfilename: file.size or 0 for file in info.siblings}
        chosen = choose(list(sizes), include=options.include, variant=options.variant)
        total = sum(sizes[name] for name in chosen)
        if options.dry_run:
            print("\n".join(f"{sizes[name] / 1e6:10.1f} MB  {name}" for name in chosen))
        else:
            print(f"{options.repo}: {len(chosen)} files, {total / 1e9:.2f} GB, to {target}", file=sys.stderr)
            huggingface_hub.snapshot_download(
                options.repo, revision=info.sha, local_dir=target, allow_patterns=[_literal(name) for name in chosen]
            )
    except Exception as error:
        raise ValueError(explain(error, options.repo)) from error
    if not options.dry_run:
        _complete(target, {name: sizes[name] for name in chosen})
        print(target)


def _without_home(target: Path) -> None:
    """Where there is no home to write in, the hub's own notes go beside the model; its token is still read at home."""
    own = home()
    if own is None or not os.access(own, os.W_OK):
        os.environ.setdefault("HF_HOME", str(target.parent / ".cache" / "huggingface"))
        if own is not None:
            os.environ.setdefault("HF_TOKEN_PATH", str(own / ".cache" / "huggingface" / "token"))


def models_folder(wish: str | None) -> Path:
    """Where models go: `wish`, else the first of IMAGEN_MODELS, else the pack's own models folder."""
    if wish:
        return place(wish)
    named = runtime.models_named()
    return place(named[0]) if named else runtime.PACK_ROOT / "models"


def choose(names: Sequence[str], *, include: Sequence[str] = (), variant: str = "fp16") -> list[str]:
    """The files worth fetching, of twins one. With `include`, those that a pattern names, pickles apart.

    Raises ValueError when none is left, and for a heap of single weight files of which one has to be named.
    """
    if include:
        named = [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in include)]
        kept = [name for name in named if not name.endswith(PICKLES)]
        if not kept:
            reason = "only pickles (.bin), which are refused" if named else "nothing"
            raise ValueError(f"--include {' '.join(include)} names {reason}: the repository has {_some(names)}")
        return _with_one_twin(kept, variant)
    pipeline = "model_index.json" in names
    wanted = [name for name in names if _is_wanted(name, pipeline)]
    weights = [name for name in wanted if name.endswith(WEIGHTS)]
    if not weights:
        raise ValueError(f"the repository has no .safetensors or .gguf weights: it has {_some(names)}")
    singles = [name for name in weights if "/" not in name]
    if not pipeline and len(singles) > 1 and len({_twin(name) for name in singles}) > 1:
        raise ValueError(f"the repository has many single files: choose with --include {_some(singles)}")
    return _with_one_twin(wanted, variant)


def _with_one_twin(names: Sequence[str], variant: str) -> list[str]:
    weights = [name for name in names if name.endswith(WEIGHTS)]
    kept = set(preferred(weights, variant))
    return sorted(name for name in names if name not in weights or name in kept)


def _is_wanted(name: str, pipeline: bool) -> bool:
    folder = PurePosixPath(name).parts[0] if "/" in name else ""
    if name.startswith(".") or UNREAD.search(name) or not name.endswith((*WEIGHTS, *SETTINGS)):
        return False
    if not pipeline:
        return True
    if not folder:  # weights in a pipeline's root are the original's, once more
        return not name.endswith(WEIGHTS)
    return re.sub(r"_\d+$", "", folder) in PARTS


def preferred(weights: Sequence[str], variant: str) -> list[str]:
    """In each folder the files of `variant`, if it has any; else those without one."""
    kept = []
    for folder in dict.fromkeys(str(PurePosixPath(name).parent) for name in weights):
        here = [name for name in weights if str(PurePosixPath(name).parent) == folder]
        of_variant = [name for name in here if _infix(name) == variant]
        plain = [name for name in here if _infix(name) == ""]
        kept += of_variant or plain or here
    return kept


def _infix(name: str) -> str:
    """The variant in a name such as model.fp16-00001-of-00002.safetensors."""
    found = re.fullmatch(r".*?\.([a-z]+\d+)(?:-\d+-of-\d+)?\.safetensors", name)
    return found[1] if found else ""


def _twin(name: str) -> str:
    """What a file's shards and variants have in common."""
    return re.sub(r"(\.[a-z]+\d+)?(-\d+-of-\d+)?\.(safetensors|gguf)$", "", name)


def _some(names: Sequence[str]) -> str:
    shown = [name for name in names if not name.startswith(".")]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")


def _literal(name: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", name)


def _complete(target: Path, sizes: dict[str, int]) -> None:
    for name, size in sizes.items():
        file = target / name
        if not file.is_file() or (size and file.stat().st_size != size):
            raise ValueError(f"{file} did not arrive whole: run the same command again, it goes on where it stopped")


def explain(error: Exception, repo: str) -> str:
    """One line that says what to do; our own errors keep their words."""
    page = f"https://huggingface.co/{repo}"
    names = {kind.__name__ for cause in _chain(error) for kind in type(cause).__mro__}
    status = next((code for cause in _chain(error) if (code := _status(cause))), None)
    if "GatedRepoError" in names:
        return f"{repo} asks you to accept its licence: open {page}, accept, then `hf auth login`, and run this again"
    if "RevisionNotFoundError" in names:
        return f"{repo} has no such revision; see {page}/tree/main"
    if "RepositoryNotFoundError" in names or status in (401, 403, 404):
        return (
            f"{repo} is not there, or not for you ({status or 404}): check the name; if it has a licence to accept, open "
            f"{page}, accept, then `hf auth login`"
        )
    if names & {
        "OfflineModeIsEnabled",
        "LocalEntryNotFoundError",
        "ConnectionError",
        "ConnectError",
        "TimeoutException",
    }:
        return f"no connection to the Hugging Face hub ({_first_line(error)}): go online, or copy the folder by hand"
    if isinstance(error, ValueError) and type(error) is ValueError:
        return f"{repo}: {error}"
    if isinstance(error, OSError) and error.errno is not None and "RequestException" not in names:
        return f"{repo} could not be written: {error}"
    return f"{repo} could not be fetched ({type(error).__name__}: {_first_line(error)}); run the command again to go on"


def _chain(error: BaseException | None) -> list[BaseException]:
    causes = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
