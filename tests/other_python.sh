#!/bin/sh
# Give Python 3.13 a virtual environment with the exporter, in the directory given, where there is such a Python.
# Where there is none it says so and succeeds: its tests are then skipped, with the reason. What cannot be installed
# there, such as a package that is not made for it, fails.
set -eu

version=3.13
directory=$1

# A shim of pyenv is on the path even where it leads to nothing, so each one is tried.
found=
for python in "$(command -v "python$version" || true)" \
    "$(pyenv root 2>/dev/null || true)/versions/$version"*/bin/python "$HOME/.pyenv/versions/$version"*/bin/python; do
    if "$python" -c "import sys, venv; assert '%d.%d' % sys.version_info[:2] == '$version'" 2>/dev/null; then
        found=$python
        break
    fi
done

if [ -z "$found" ]; then
    rm -rf "$directory"
    echo "Python $version: not found on the path or among pyenv's versions"
    exit 0
fi
[ -x "$directory/bin/python" ] || "$found" -m venv --clear "$directory"
"$directory/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 --only-binary :all: \
    --constraint constraints.txt --editable .
echo "Python $version: $found"
