#!/bin/sh
# tools_md.sh FOLDER - docs/tools.md on standard output, from the option tables of the tools there.
cd "$(dirname "$0")/.." || exit 1
dir=${1:-tools} first=1
for source in tools/*.c; do
    case $source in tools/cli*) continue ;; esac
    tool=$dir/$(basename "$source" .c)
    "$tool" --help-markdown >/dev/null 2>&1 || continue
    [ $first = 1 ] && "$tool" --help-markdown-common
    first=0
    "$tool" --help-markdown
done
