#!/bin/sh
# Prints the newest Python from 3.11 to 3.14 on PATH that really runs and can make virtual environments.
# Where there is none it says on stderr which one command helps, and exits 2. Uses nothing but the shell itself.

unset PYTHONHOME PYTHONPATH
set -f           # a folder in PATH is not a pattern
lame=            # a Python of the right age that lacks venv or ensurepip, and its version
lame_version=
old_ifs=$IFS

for name in python3.14 python3.13 python3.12 python3.11 python3; do
  IFS=:
  for folder in $PATH; do
    IFS=$old_ifs
    [ "$folder" != "$PWD/.venv/bin" ] || continue  # activated, but about to be made anew
    candidate=${folder:-.}/$name
    [ -f "$candidate" ] && [ -x "$candidate" ] || continue
    # A version manager's shim may stand there and run nothing, so ask it what it is.
    version=$("$candidate" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null </dev/null) || continue
    case $version in 3.11 | 3.12 | 3.13 | 3.14) ;; *) continue ;; esac
    if "$candidate" -I -c 'import ensurepip, venv' 2>/dev/null </dev/null; then
      printf '%s\n' "$candidate"
      exit 0
    fi
    [ -n "$lame" ] || { lame=$candidate lame_version=$version; }
  done
  IFS=$old_ifs
done

has() { command -v "$1" >/dev/null 2>&1; }

if [ -n "$lame" ]; then
  echo "$lame cannot make virtual environments: its venv or ensurepip module is missing. This helps:" >&2
  if has apt-get; then
    echo "    sudo apt install python$lame_version-venv" >&2
  elif has brew; then
    echo "    brew reinstall python@$lame_version" >&2
  elif has dnf; then
    echo "    sudo dnf install python$lame_version" >&2
  else
    echo "    install the complete Python $lame_version from https://www.python.org/downloads/" >&2
  fi
else
  echo "No Python 3.11, 3.12, 3.13 or 3.14 that runs was found on PATH. This helps:" >&2
  if has apt-get && has python3; then  # a release whose python3 is older, like Ubuntu 22.04
    echo "    sudo apt install python3.11 python3.11-venv" >&2
  elif has apt-get; then
    echo "    sudo apt install python3 python3-venv" >&2
  elif has brew; then
    echo "    brew install python@3.13" >&2
  elif has dnf; then
    echo "    sudo dnf install python3.12" >&2
  else
    echo "    install Python 3.13 from https://www.python.org/downloads/" >&2
  fi
fi
exit 2
