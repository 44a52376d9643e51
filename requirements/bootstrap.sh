#!/bin/sh
# Makes the virtual environment that every make target runs in, or finds it ready:
#     sh requirements/bootstrap.sh [--venv .venv] [test] [tensorboard] [notebook] [docs] [torch]
#     sh requirements/bootstrap.sh --venv .venv-bench bench
# This half finds a Python from 3.8 to 3.11 (NumPy 1.23, which MXNet 1.9.1 needs, is for these); setup_env.py does the rest.
# Set PYTHON to choose the interpreter, CONFSEG_MXNET to cpu or cuda to choose the MXNet wheel.
set -u
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
unset PYTHONHOME PYTHONPATH PYTHONSTARTUP __PYVENV_LAUNCHER__

venv=.venv
if [ "${1-}" = --venv ]; then
    venv=$2
    shift 2
fi

# Ready already: asked of the environment itself, without looking for a Python
ready=$here/../$venv/bin/python
if [ -x "$ready" ] && "$ready" -I -S "$here/setup_env.py" --check --venv "$venv" "$@" 2>/dev/null; then
    exit 0
fi

# Prints "ok", or what stands against this interpreter, or nothing where it does not start
judge() {
    "$1" -I -c '
import struct, sys
version = sys.version_info[:2]
try:
    import ctypes, ensurepip, ssl, venv, zlib
    lacks = ""
except ImportError as error:
    lacks = error.name or "venv"
if not (3, 8) <= version <= (3, 11):
    print("is Python %d.%d" % version)
elif struct.calcsize("P") != 8:
    print("is a 32-bit Python")
elif lacks:
    print("lacks the module %s (Debian, Ubuntu: apt-get install python%d.%d-venv)" % ((lacks,) + version))
else:
    print("ok")
' 2>/dev/null
}

fail() {
    echo "set-up: $1" >&2
    exit 1
}

candidates() {
    for version in 3.11 3.10 3.9 3.8; do
        command -v "python$version"
    done
    command -v python3
    command -v python
    # a version that pyenv holds but has not made current answers under its own path only
    if command -v pyenv >/dev/null 2>&1; then
        for version in 3.11 3.10 3.9 3.8; do
            ls "$(pyenv root)/versions/$version".*/bin/python 2>/dev/null
        done
    fi
}

choose() {
    if [ -n "${PYTHON-}" ]; then
        verdict=$(judge "$PYTHON")
        [ "$verdict" = ok ] || fail "PYTHON=$PYTHON ${verdict:-does not start}, and MXNet 1.9.1 needs Python 3.8 to 3.11: set PYTHON to one of these, or unset it."
        python=$PYTHON
        return
    fi
    near=
    saved_ifs=$IFS
    IFS='
'
    for python in $(candidates); do
        verdict=$(judge "$python")
        if [ "$verdict" = ok ]; then
            IFS=$saved_ifs
            return
        fi
        case $verdict in lacks*) near=${near:-"$python $verdict"} ;; esac
    done
    IFS=$saved_ifs
    fail "MXNet 1.9.1 needs Python 3.8 to 3.11, and none is on the PATH${near:+ ($near)}: install one (Python 3.11 is the best), or set PYTHON to it."
}

choose
exec "$python" -I "$here/setup_env.py" --venv "$venv" "$@"
