#!/bin/sh
# Runs the tests of this folder in a ComfyUI checkout, in an environment that is made for its version the first time.
#
#   tests/comfyui/run.sh COMFYUI_PATH [pytest's arguments]
#
# COMFYUI_ENVS    where the environments lie, outside the checkout and this repository (~/.cache/imagen-nodes)
# COMFYUI_PYTHON  an interpreter that has everything already: then nothing is installed
# PYTHON, TORCH   what an environment is made with (python3; "torch>=2.4,<=2.13.0")
set -eu

fail() { echo "run.sh: $1" >&2; exit 2; }

[ $# -ge 1 ] || fail "which ComfyUI? tests/comfyui/run.sh COMFYUI_PATH [pytest's arguments]"
[ -f "$1/comfyui_version.py" ] || fail "$1 is no ComfyUI checkout: it has no comfyui_version.py"
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
COMFYUI_PATH=$(cd "$1" && pwd)
shift
version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' "$COMFYUI_PATH/comfyui_version.py")

# torchvision and torchaudio as pip packages of that name, so that whatever asks for them leaves the chosen torch alone.
install_stand_in() {
    mkdir -p "$built/$1"
    cp "$here/stand_in.py" "$built/$1/__init__.py"
    printf '[project]\nname = "%s"\nversion = "0.20.0"\n[tool.setuptools]\npackages = ["%s"]\n' "$1" "$1" > "$built/pyproject.toml"
    "$environment/bin/pip" install -q --no-build-isolation --no-deps "$built"
    rm -r "$built"
}

make_environment() {
    echo "run.sh: installing what ComfyUI $version asks for into $environment" >&2
    rm -rf "$environment"
    "${PYTHON:-python3}" -m venv "$environment"
    "$environment/bin/pip" install -q "${TORCH:-torch>=2.4,<=2.13.0}" setuptools wheel
    built=$environment/stand_in
    install_stand_in torchvision
    install_stand_in torchaudio
    grep -vE '^torch(vision|audio)?([^a-z]|$)' "$COMFYUI_PATH/requirements.txt" > "$environment/requirements.txt"
    "$environment/bin/pip" install -q -r "$environment/requirements.txt" -r "$root/requirements.txt" \
        'pytest>=8' pytest-timeout psutil requests  # older ComfyUIs need requests and do not say so
    echo "$wanted" > "$environment/made-for"
}

if [ -z "${COMFYUI_PYTHON:-}" ]; then
    environment=${COMFYUI_ENVS:-${XDG_CACHE_HOME:-$HOME/.cache}/imagen-nodes}/comfyui-$version
    wanted=$(cat "$COMFYUI_PATH/requirements.txt" "$root/requirements.txt" "$here/stand_in.py" "$here/run.sh" | cksum)
    [ "$(cat "$environment/made-for" 2>/dev/null)" = "$wanted" ] || make_environment
    COMFYUI_PYTHON=$environment/bin/python
fi

export COMFYUI_PATH COMFYUI_PYTHON PYTHONDONTWRITEBYTECODE=1
cd "$root"
echo "run.sh: ComfyUI $version, $("$COMFYUI_PYTHON" -c 'import torch; print("torch", torch.__version__)')" >&2
exec "$COMFYUI_PYTHON" -m pytest -q "$@" tests/comfyui
