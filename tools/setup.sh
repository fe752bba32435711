#!/bin/sh
# Called by the Makefile:
#   tools/setup.sh venv             make .venv
#   tools/setup.sh install TARGET   install TARGET (`.` or `.[extra]`) into it, editable and pinned
# uv does both when it is there; otherwise the standard library's venv, and pip.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() {
    echo "elector: $1" >&2
    exit 1
}

have_uv() {
    command -v uv >/dev/null 2>&1
}

make_venv() {
    command -v "$python" >/dev/null 2>&1 ||
        fail "there is no $python: install Python 3.11 or later, or set PYTHON=/path/to/python3"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$python is $("$python" -V 2>&1), and 3.11 is the oldest that will do: set PYTHON=/path/to/python3"
    rm -rf .venv # only ever the remains of a set-up that did not finish
    if have_uv; then
        uv venv --quiet --python "$python" .venv
    else
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$python has no venv module: install it (Debian and Ubuntu: apt install python3-venv)"
        "$python" -m venv .venv
    fi
}

install() {
    echo "elector: installing $1 into .venv"
    if have_uv; then
        uv pip install --quiet --python .venv/bin/python --constraint constraints.txt --editable "$1"
        return
    fi
    # An environment that uv made has no pip of its own.
    .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip >/dev/null
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --constraint constraints.txt --editable "$1"
}

case ${1:-} in
venv) make_venv ;;
install) install "$2" ;;
*) fail "tools/setup.sh knows venv and install, not '${1:-}'" ;;
esac
