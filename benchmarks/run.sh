#!/usr/bin/env bash
# Which command compares this pack with imagen-pytorch 2.1.0? This one. It installs the peer into .bench-venv once.
# BENCH_VENV names another folder, PYTHON another interpreter; arguments go to compare_imagen_pytorch.py.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="${BENCH_VENV:-$here/../.bench-venv}"

if [ ! -f "$venv/.complete-2.1.0" ]; then
  "${PYTHON:-python3}" -m venv "$venv"
  # torch first and alone; the peer last and without its dependencies, which would bring a torchvision that does not fit torch.
  "$venv/bin/pip" install --quiet torch==2.13.0
  "$venv/bin/pip" install --quiet -r "$here/peer_requirements.txt" -r "$here/../requirements.txt" psutil
  "$venv/bin/pip" install --quiet --no-deps imagen-pytorch==2.1.0
  touch "$venv/.complete-2.1.0"
fi
exec "$venv/bin/python" "$here/compare_imagen_pytorch.py" "$@"
