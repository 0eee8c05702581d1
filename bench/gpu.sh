#!/bin/sh
# Everything that needs a GPU, in stages that end within eight minutes each and go on where they
# stopped, with nothing from the network:
#     bash bench/gpu.sh [backend] [tests] [speed] [train]
# --help says more. Uses .venv where there is one, else python3 or what PYTHON names.
cd "$(dirname "$0")/.." || exit
[ -x .venv/bin/python ] && PYTHON=${PYTHON:-.venv/bin/python}
exec "${PYTHON:-python3}" bench/gpu.py "$@"
