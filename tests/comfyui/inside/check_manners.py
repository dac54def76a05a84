"""Does ComfyUI read the pack's description, and find the pack's model folder beside the user's own?"""

import importlib
import subprocess
import sys
from pathlib import Path

import folder_paths
from comfy_config import config_parser

ROOT = Path(__file__).resolve().parents[3]


def test_the_description_for_the_registry_is_understood():
    read = config_parser.extract_node_configuration(str(ROOT))
    assert read.project.name == "imagen-nodes" and read.tool_comfy.display_name
    assert read.project.supported_comfyui_version == ">=0.3.64"
    assert read.project.license.text == "Apache-2.0"


def test_models_imagen_is_registered_with_its_extensions(pack):
    folders, extensions = folder_paths.folder_names_and_paths["imagen"]
    assert str(Path(folder_paths.models_dir) / "imagen") in folders and str(ROOT / "models") in folders
    assert {".safetensors", ".gguf"} <= set(extensions)
    assert "imagen-mini/things64.safetensors" in [
        name.replace("\\", "/") for name in folder_paths.get_filename_list("imagen")
    ]


def test_folders_that_a_user_named_come_first(pack, monkeypatch, tmp_path):
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "imagen", ([str(tmp_path)], set()))
    importlib.reload(importlib.import_module(f"{pack.__name__}.nodes._host.files"))
    assert folder_paths.get_folder_paths("imagen")[0] == str(tmp_path)
    assert len(folder_paths.get_folder_paths("imagen")) == 3


IMPORT = """
import importlib.util, os, socket, sys
sys.path.insert(0, os.environ["COMFYUI_PATH"])
from comfy.cli_args import args
args.cpu = True
import nodes
def refuse(*_, **__):
    raise AssertionError("the network was asked at import")
socket.socket.connect = refuse
print("----", flush=True)
spec = importlib.util.spec_from_file_location("pack", sys.argv[1] + "/__init__.py", submodule_search_locations=[sys.argv[1]])
sys.modules["pack"] = importlib.util.module_from_spec(spec)
before = set(sys.modules)
spec.loader.exec_module(sys.modules["pack"])
print("----", *(name for name in set(sys.modules) - before if not name.startswith("pack")))
"""


def test_import_prints_at_most_a_line_asks_no_network_and_brings_no_large_library():
    done = subprocess.run([sys.executable, "-c", IMPORT, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    _, printed, brought = done.stdout.split("----")
    assert len(printed.strip().splitlines()) <= 1
    assert not {"diffusers", "imagen_host", "imagen_train", "gguf"} & {
        name.partition(".")[0] for name in brought.split()
    }
