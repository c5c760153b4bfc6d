#!/bin/sh
# Run Python from .venv with the off-screen OpenGL backend that the set-up found to work (MUJOCO_GL overrides it).
venv=$(dirname "$0")/../.venv
export MUJOCO_GL="${MUJOCO_GL:-$(cat "$venv/mujoco_gl")}"
exec "$venv/bin/python" "$@"
