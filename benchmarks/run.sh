#!/usr/bin/env bash
# Which command compares this pack with imagen-pytorch 2.1.0 (and diffusers)? This one. It installs the peers into .bench-venv once.
# BENCH_VENV names another folder, PYTHON another interpreter; a first argument that ends in .py names another script of this
# folder than compare_imagen_pytorch.py (train_peers.py); all other arguments go to it.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="${BENCH_VENV:-$here/../.bench-venv}"
script=compare_imagen_pytorch.py
if [[ "${1:-}" == *.py ]]; then
  script="$1"
  shift
fi

if [ ! -f "$venv/.complete-2.1.0-diffusers" ]; then
  "${PYTHON:-python3}" -m venv "$venv"
  # torch first and alone; the peer last and without its dependencies, which would bring a torchvision that does not fit torch.
  "$venv/bin/pip" install --quiet torch==2.13.0
  "$venv/bin/pip" install --quiet -r "$here/peer_requirements.txt" -r "$here/../requirements.txt" psutil
  "$venv/bin/pip" install --quiet --no-deps imagen-pytorch==2.1.0
  touch "$venv/.complete-2.1.0-diffusers"
fi
exec "$venv/bin/python" "$here/$script" "$@"
