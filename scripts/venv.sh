#!/bin/bash
# Makes the Python environment of the end-to-end tests, .venv, unless it is there as requirements.txt has it.
set -eu
cd "$(dirname "$0")/.."

if [ .venv/installed -nt Tests/e2e/requirements.txt ] && .venv/bin/python -c '' 2>/dev/null; then exit 0; fi
"${PYTHON:-python3}" -m venv --clear .venv
# The official client asks for one version of Python and works with others.
.venv/bin/python -m pip install --quiet --disable-pip-version-check --ignore-requires-python \
    -r Tests/e2e/requirements.txt
touch .venv/installed
