#!/bin/sh
# weights/fetch.sh against a folder that plays the server: no network.
. "$(dirname "$0")/tools_lib.sh"
F=$top/weights/fetch.sh
check "help" 0 "$F" --help
prints "usage: fetch.sh"
check "the list" 0 "$F" --list
prints "sam_vit_b sam_vit_b_01ec64.pth 375042383 ec2df62732614e57"
check "no name" 2 "$F"
check "a name it has not" 2 "$F" sam_vit_x
says "unknown name sam_vit_x"
check "an option it has not" 2 "$F" --quick sam_vit_b
check "nothing is there" 0 "$F" --check --dir empty
prints "empty/mobile_sam.pt: absent"
check "what is named must be there" 1 "$F" --check --dir empty mobilesam
check "by hand only" 1 "$F" --dir d medsam
says "get it from https://github.com/bowang-lab/MedSAM"
if command -v curl >/dev/null 2>&1; then
    mkdir server
    echo "not weights" >server/mobile_sam.pt
    check "a wrong file is not kept" 1 "$F" --dir d --from "file://$tmp/server" mobilesam
    says "12 bytes, expected 40728226"
    says "not the published file; removed"
    absent "a wrong file is not kept" d/mobile_sam.pt
    absent "nor its part" d/mobile_sam.pt.part
    check "a server without it" 1 "$F" --dir d --from "file://$tmp/nowhere" sam_vit_b
    says "not fetched; run again to go on"
else
    skip "curl is absent"
fi
echo x >d/mobile_sam.pt
check "a damaged file is found" 1 "$F" --check --dir d
says "d/mobile_sam.pt: 2 bytes, expected 40728226"
check "and not replaced silently" 1 "$F" --dir d mobilesam
report
