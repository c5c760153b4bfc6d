#!/usr/bin/env bash
# Set up a virtual environment with everything: scripts/setup.sh VENV
# Installs Debian packages only where they are missing and this user may; otherwise names the command to type.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:?usage: scripts/setup.sh VENV}

say() { printf '%s\n' "$*" >&2; }
fail() { say "error: $*"; exit 2; }

# Install Debian packages, as root or through a sudo that asks no password.
apt_install() {
    local why=$1 sudo=""
    shift
    [ "$(id -u)" = 0 ] || sudo="sudo -n"
    if ! command -v apt-get >/dev/null || ! { [ -z "$sudo" ] || $sudo true 2>/dev/null; }; then
        fail "$why; install it and run again:  sudo apt-get install -y $*"
    fi
    say "$why: installing $*"
    $sudo apt-get update -qq >&2 || true
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2 ||
        fail "$why and apt-get could not install it; try:  sudo apt-get install -y $*"
}

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    return 1
}

# Whether MuJoCo can render off-screen with this backend (egl or osmesa).
renders() {
    MUJOCO_GL=$1 PYOPENGL_PLATFORM=$1 "$venv/bin/python" -c '
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco/>")
mujoco.Renderer(model, 16, 16).close()' 2>/dev/null
}

choose_backend() {
    for backend in ${MUJOCO_GL:-egl osmesa}; do
        if renders "$backend"; then
            echo "$backend" >"$venv/mujoco_gl"
            return
        fi
    done
    return 1
}

python=$(find_python) || fail "Python 3.11 or newer is needed; install one, or name it:  make eval PYTHON=/path/to/python3"
if [ ! -x "$venv/bin/pip" ]; then
    say "creating $venv with $("$python" --version)"
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        apt_install "Python's venv module is missing" "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    "$python" -m venv "$venv"
fi

say "installing Python packages into $venv (a few minutes the first time)"
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable '.[all]'
"$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement requirements-libero.txt

if ! choose_backend; then
    apt_install "MuJoCo finds no OpenGL library to render with (EGL or OSMesa)" libegl1 libgl1-mesa-dri libosmesa6
    choose_backend ||
        fail "MuJoCo cannot render with ${MUJOCO_GL:-EGL or OSMesa} although it is installed; see 'Troubleshooting' in README.md"
fi
say "ready: rendering with $(cat "$venv/mujoco_gl")"
