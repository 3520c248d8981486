#!/bin/sh
# docs/tools.md says what the option tables say; every tool has --help and --version.
. "$(dirname "$0")/tools_lib.sh"
"$top/tests/tools_md.sh" "$T" >tools.md
same "docs/tools.md is current (make docs)" "$top/docs/tools.md" tools.md
for tool in "$T"/*; do
    [ -x "$tool" ] || continue
    name=$(basename "$tool")
    case $name in *.*) continue ;; esac
    check "$name --help" 0 "$tool" --help
    check "$name --version" 0 "$tool" --version
done
report
