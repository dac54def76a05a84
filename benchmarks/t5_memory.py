"""How much memory and time does T5-XXL take to read a prompt, from each kind of file that people have?

    python benchmarks/t5_memory.py --folder SCRATCH --kinds fp8 q8_0 q4_k [--keep] [--prompt TEXT]

Writes a T5-XXL of true size with random weights into SCRATCH (fp8 4.8 GB, q8_0 5.1 GB, q4_k 2.7 GB, fp16 9.5 GB), tensor
by tensor, one kind at a time, and removes it afterwards. Each is read by a process of its own, so that its peak is its
own. The weights of one layer repeat in every layer: speed and memory do not depend on the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from imagen_core.text.t5_config import T5Config, expected_shapes  # noqa: E402
from imagen_core.text.t5_weights import _LLAMA_CPP  # noqa: E402

XXL = T5Config(vocab_size=32128, d_model=4096, d_kv=64, d_ff=10240, num_layers=24, num_heads=64)
PROMPT = "a red sphere to the left of a blue cube, standing on wet sand at sunset, a kite in the sky behind them"
KINDS = ("fp8", "fp16", "q8_0", "q4_k", "q5_k")
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the file may be written: up to 10 GB")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["fp8", "q8_0", "q4_k"])
    parser.add_argument("--weights", nargs="+", choices=("disk", "memory"), default=["disk", "memory"])
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", action="store_true", help="leave the files there, and use those that are")
    parser.add_argument("--measure", nargs=2, metavar=("FILE", "WEIGHTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(Path(options.measure[0]), options)))
        return
    print(header(options))
    for kind in options.kinds:
        file = options.folder / f"t5xxl_random_{kind}.{'safetensors' if kind.startswith('fp') else 'gguf'}"
        if not file.is_file():
            (write_safetensors if kind.startswith("fp") else write_gguf)(file, kind)
        for weights in options.weights:
            print(row(kind, weights, file, in_own_process(file, weights, options)), flush=True)
        if not options.keep:
            file.unlink()


def header(options: argparse.Namespace) -> str:
    names = ["file", "size GB", "weights rest", "peak MiB", "above imports MiB", "accelerator peak MiB"]
    names += ["open s", "first prompt s", "CPU s", "second prompt s"]
    place = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.processor() or "CPU"
    about = f"{platform.system()}, Python {platform.python_version()}, torch {torch.__version__}, {place}, "
    about += f"{torch.get_num_threads()} threads; prompt and null prompt, 77 tokens each, fp32 arithmetic"
    return f"{about}\n\n| {' | '.join(names)} |\n|{' --- |' * len(names)}"


def row(kind: str, weights: str, file: Path, found: dict) -> str:
    cells = [kind, f"{file.stat().st_size / 1e9:.2f}", weights, f"{found['peak']:.0f}"]
    cells += [f"{found['peak'] - found['imports']:.0f}", f"{found['accelerator']:.0f}", f"{found['open']:.2f}"]
    cells += [f"{found['first']:.1f}", f"{found['cpu']:.1f}", f"{found['second']:.1f}"]
    return f"| {' | '.join(cells)} |"


def in_own_process(file: Path, weights: str, options: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--folder", str(options.folder), "--prompt", options.prompt]
    command += ["--device", options.device, "--measure", str(file), weights]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def peak() -> float:
    """The highest resident size of this process so far, MiB (file pages that are mapped included)."""
    if Path("/proc/self/status").is_file():  # getrusage would count what the parent held when it forked
        status = Path("/proc/self/status").read_text()
        found = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(found.split()[1]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


class Words:
    """A tokenizer of the right size: the file has random weights, so any ids do."""

    size = XXL.vocab_size

    def ids(self, text: str) -> list[int]:
        return [3 + hash(word) % 30000 for word in text.split()]

    def text(self, ids: list[int]) -> str:
        return f"{len(ids)} words"


def measure(file: Path, options: argparse.Namespace) -> dict:
    from imagen_core import T5TextEncoder, encode_prompt
    from imagen_core.text.t5_network import T5Network
    from imagen_core.text.t5_weights import WeightsInMemory, open_weights

    if file.suffix == ".gguf":
        import gguf  # noqa: F401
    on_gpu = options.device.startswith("cuda")
    imports, start = peak(), time.perf_counter()
    weights, config = open_weights([file])
    kept = weights if options.measure[1] == "disk" else WeightsInMemory(weights)
    encoder = T5TextEncoder(T5Network(config, kept, device=options.device), Words())
    opened, cpu = time.perf_counter(), time.process_time()
    prompt = encode_prompt(encoder, options.prompt, pad_to=77)
    first, cpu = time.perf_counter(), time.process_time() - cpu
    if not prompt.text.embeds.isfinite().all() or not prompt.negative.embeds.isfinite().all():
        raise SystemExit("the encoding is not finite")
    encode_prompt(encoder, options.prompt + " again", pad_to=77)
    second = time.perf_counter()
    used = torch.cuda.max_memory_allocated() / MIB if on_gpu else 0.0
    seconds = {"open": opened - start, "first": first - opened, "cpu": cpu, "second": second - first}
    return {"imports": imports, "peak": peak(), "accelerator": used, **seconds}


def spread(name: str) -> float:
    """The standard deviation that keeps a random T5's activations at a healthy size."""
    if name == "shared.weight":
        return 1.0
    if ".q." in name:
        return (XXL.d_model * XXL.d_kv) ** -0.5
    return XXL.d_ff**-0.5 if ".wo." in name else XXL.d_model**-0.5


def numbers(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    if "layer_norm" in name:
        return torch.ones(shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) * spread(name)


def write_safetensors(file: Path, kind: str) -> None:
    """The format by hand (eight bytes of header length, JSON, data), so that memory holds one tensor at a time."""
    dtype, label = {"fp8": (torch.float8_e4m3fn, "F8_E4M3"), "fp16": (torch.float16, "F16")}[kind]
    size, entries, offset = torch.empty(0, dtype=dtype).element_size(), {}, 0
    for name, shape in expected_shapes(XXL).items():
        end = offset + int(np.prod(shape)) * size
        entries[name] = {"dtype": label, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries).encode()
    made: dict[str, bytes] = {}
    with open(file, "wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for name, shape in expected_shapes(XXL).items():
            key = name.partition(".layer.")[2] or name
            if key not in made:
                made[key] = numbers(name, shape).to(dtype).view(torch.uint8).numpy().tobytes()
            out.write(made[key])


def write_gguf(file: Path, kind: str) -> None:
    """As llama.cpp writes a T5 encoder: norms and the position bias F32, everything else quantised."""
    import gguf

    quantisation = gguf.GGMLQuantizationType[kind.upper()]
    block, block_bytes = gguf.GGML_QUANT_SIZES[quantisation]
    writer = gguf.GGUFWriter(os.fspath(file), "t5encoder")
    names = {ours: theirs for theirs, ours in _LLAMA_CPP.items()}
    plan = []
    for name, shape in expected_shapes(XXL).items():
        head, _, tail = name.removesuffix(".weight").partition(".layer.")
        stored = names[name.removesuffix(".weight")] if not tail else f"{'.'.join(['enc.blk', head.split('.')[-1]])}"
        stored = f"{stored}.{names['layer.' + tail]}.weight" if tail else f"{stored}.weight"
        plain = len(shape) == 1 or "relative_attention_bias" in name
        count = int(np.prod(shape)) * 4 if plain else int(np.prod(shape)) // block * block_bytes
        width = shape if plain else (*shape[:-1], shape[-1] // block * block_bytes)
        dtype = np.float32 if plain else np.uint8
        writer.add_tensor_info(stored, width, np.dtype(dtype), count, None if plain else quantisation)
        plan.append((name, shape, plain))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    made: dict[str, np.ndarray] = {}
    for name, shape, plain in plan:
        key = name.partition(".layer.")[2] or name
        if key not in made:
            made[key] = numbers(name, shape).numpy() if plain else blocks(name, shape, quantisation)
        writer.write_tensor_data(made[key])
    writer.close()


def blocks(name: str, shape: tuple[int, ...], quantisation) -> np.ndarray:
    """Random weights as quantised blocks, (rows, bytes a row). The gguf package quantises no K types: random bits do."""
    import gguf

    if quantisation == gguf.GGMLQuantizationType.Q8_0:
        return gguf.quantize(numbers(name, shape).numpy(), quantisation)
    block, block_bytes = gguf.GGML_QUANT_SIZES[quantisation]
    raw = np.random.default_rng(0).integers(0, 256, (shape[0] * shape[1] // block, block_bytes), np.uint8)
    levels = 2 ** int(quantisation.name[1])
    step = spread(name) / (31 * 0.29 * levels)  # 31: the mean of a sub-block's own 6-bit scale
    raw[:, :4] = np.array([step, step * levels / 2], np.float16).view(np.uint8)
    return raw.reshape(shape[0], -1)


if __name__ == "__main__":
    main()
