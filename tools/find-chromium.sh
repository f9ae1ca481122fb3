#!/bin/sh
# Prints the browser that the console is tested with; says what is missing, and fails, where there is none.
for name in chromium google-chrome chromium-browser; do
    command -v "$name" && exit
done
echo "NOT RUN: the console's browser tests need chromium, and this machine has none (Debian: apt install chromium)" >&2
exit 1
