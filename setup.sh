#!/bin/sh
# Makes .venv with a Python that Jittor supports and installs a requirements file into it:
#     sh setup.sh requirements.txt
# Where something is missing, one line says which package to install.
set -eu
cd "$(dirname "$0")"
fail() { echo "error: $1" >&2; exit 2; }

# Jittor hands its paths to a shell as they are.
case $PWD in *[!A-Za-z0-9/._+@,:=%-]*)
    if printf %s "$PWD" | LC_ALL=C grep -q "[ \\'\"\`\$&;|<>()]"; then
        fail "$PWD: Jittor cannot compile in a folder whose path has a space or one of the shell's \
signs in it. Type: mv \"$PWD\" to a path without"
    fi ;;
esac
command -v "${cc_path:-g++}" >/dev/null || fail "no C++ compiler. Type: apt-get install g++"
fits='import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 12))'
if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c "import pip; $fits" 2>/dev/null; then
    python= incomplete=
    for candidate in ${PYTHON:-python3.12 python3.11 python3.10 python3.9 python3 /usr/bin/python3}; do
        "$candidate" -c "$fits" 2>/dev/null || continue
        version=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        if ! "$candidate" -c 'import venv, ensurepip' 2>/dev/null; then
            incomplete="python$version-venv"
        elif ! "$candidate" -c 'import os, sysconfig, sys
sys.exit(not os.path.isfile(sysconfig.get_paths()["include"] + "/Python.h"))'; then
            incomplete="python$version-dev"
        else
            python=$candidate
            break
        fi
    done
    if [ -z "$python" ] && [ -n "$incomplete" ]; then
        fail "Python lacks a part. Type: apt-get install $incomplete"
    fi
    [ -n "$python" ] || fail "no Python 3.9 to 3.12 found (Jittor needs one of these). Type: \
apt-get install python3 python3-venv python3-dev, or name one with PYTHON=/path/to/python3.12"
    rm -rf .venv
    echo "Making .venv with $("$python" --version) …"
    "$python" -m venv .venv
fi
requirements=${1:-requirements.txt}
echo "Installing the packages of $requirements into .venv …"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --use-pep517 -r "$requirements" ||
    fail "pip could not install $requirements: see the lines above"
