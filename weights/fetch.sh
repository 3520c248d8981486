#!/bin/sh
# fetch.sh - fetches published weights and checks their SHA-256.  See --help.
usage() {
    cat <<'END'
usage: fetch.sh [--dir DIR] [--from URL] NAME...
       fetch.sh --list
       fetch.sh --check [--dir DIR] [NAME...]

  NAME        biomedclip   open_clip_pytorch_model.bin and vocab.txt    784 MB
              sam_vit_b    sam_vit_b_01ec64.pth                         375 MB
              sam_vit_l    sam_vit_l_0b3195.pth                         1.2 GB
              sam_vit_h    sam_vit_h_4b8939.pth                         2.6 GB
              mobilesam    mobile_sam.pt                                 41 MB
              medsam       medsam_vit_b.pth (by hand: says from where)  375 MB
              litemedsam   lite_medsam.pth (by hand: says from where)    39 MB
  --dir DIR   where to put the files (default: the folder of this script)
  --from URL  fetch URL/FILE instead of the published address
  --check     fetch nothing, check the files that are there
  --list      files, sizes, hashes and addresses

Needs curl or wget, and sha256sum, shasum or openssl.  A fetch that was broken off goes on where
it stopped.  A file is there under its name only when its hash is right.
Exit: 0 all right, 1 not fetched or wrong, 2 wrong usage.
END
}

# name  file  bytes  sha256 ("-": not known)  address ("hand:" with a page)
table() {
    cat <<'END'
biomedclip open_clip_pytorch_model.bin 783705670 52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224/resolve/main/open_clip_pytorch_model.bin
biomedclip vocab.txt - - https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224/resolve/main/vocab.txt
sam_vit_b sam_vit_b_01ec64.pth 375042383 ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912 https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth
sam_vit_l sam_vit_l_0b3195.pth 1249524607 3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622 https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth
sam_vit_h sam_vit_h_4b8939.pth 2564550879 a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth
mobilesam mobile_sam.pt 40728226 6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt
medsam medsam_vit_b.pth 375049145 34b34b78c1d18cb8c6bf84cf9c00e135d6d6c965699f3c0e31ef1bc9dcb5be74 hand:https://github.com/bowang-lab/MedSAM#get-started
litemedsam lite_medsam.pth 39370479 79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76 hand:https://github.com/bowang-lab/MedSAM/tree/LiteMedSAM
END
}

die() { # code, message
    echo "fetch.sh: $2" >&2
    exit "$1"
}

sha256_of() {
    if command -v sha256sum >/dev/null 2>&1; then
        sha256sum <"$1" | cut -d' ' -f1
    elif command -v shasum >/dev/null 2>&1; then
        shasum -a 256 <"$1" | cut -d' ' -f1
    elif command -v openssl >/dev/null 2>&1; then
        openssl dgst -sha256 <"$1" | sed 's/.*= *//'
    else
        die 1 "sha256sum, shasum or openssl is needed"
    fi
}

# right FILE BYTES SHA256: says what is wrong
right() {
    if [ "$2" != - ] && [ "$(wc -c <"$1" | tr -d ' ')" != "$2" ]; then
        echo "fetch.sh: $1: $(wc -c <"$1" | tr -d ' ') bytes, expected $2" >&2
        return 1
    fi
    [ "$3" = - ] && return 0
    got=$(sha256_of "$1")
    [ "$got" = "$3" ] && return 0
    echo "fetch.sh: $1: SHA-256 is $got, expected $3" >&2
    return 1
}

download() { # address, file; goes on where FILE ends
    if command -v curl >/dev/null 2>&1; then
        curl -fL --retry 3 -C - -o "$2" "$1"
    elif command -v wget >/dev/null 2>&1; then
        wget -c -O "$2" "$1"
    else
        die 1 "curl or wget is needed"
    fi
}

# a part that is complete: the last run was stopped before it looked
whole() { [ -e "$1" ] && [ "$(wc -c <"$1" | tr -d ' ')" = "$2" ]; }

# one FILE BYTES SHA256 ADDRESS
one() {
    file=$dir/$1
    if [ -e "$file" ]; then
        right "$file" "$2" "$3" || return 1
        [ "$3" = - ] && echo "$file: there; its hash is not known here" || echo "$file: ok"
        return 0
    fi
    [ -n "$check" ] && { echo "$file: absent"; return "$named"; }
    case $4 in hand:*)
        echo "fetch.sh: $1 cannot be fetched by a script: get it from ${4#hand:} into $dir," >&2
        echo "fetch.sh: then run fetch.sh --check" >&2
        return 1 ;;
    esac
    address=$4
    [ -n "$from" ] && address=$from/$1
    whole "$file.part" "$2" || download "$address" "$file.part" || {
        echo "fetch.sh: $address: not fetched; run again to go on" >&2
        return 1
    }
    if ! right "$file.part" "$2" "$3"; then
        rm -f "$file.part"
        echo "fetch.sh: $1: what came from $address is not the published file; removed" >&2
        return 1
    fi
    mv "$file.part" "$file" && echo "$file: ok"
}

dir=$(dirname "$0") from='' check='' names='' named=0
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) usage; exit 0 ;;
    --list) table; exit 0 ;;
    --check) check=1 ;;
    --dir | --from)
        [ $# -gt 1 ] || die 2 "$1 wants a value"
        [ "$1" = --dir ] && dir=$2 || from=${2%/}
        shift ;;
    -*) die 2 "unknown option $1; see --help" ;;
    *)
        table | grep -q "^$1 " || die 2 "unknown name $1; see --help"
        names="$names $1" named=1 ;;
    esac
    shift
done
[ -n "$names$check" ] || { usage >&2; exit 2; }
[ -n "$names" ] || names=$(table | cut -d' ' -f1 | uniq)
mkdir -p "$dir" || exit 1

status=0
for name in $names; do
    lines=$(table | grep "^$name ")
    while read -r _ file bytes hash address; do
        one "$file" "$bytes" "$hash" "$address" </dev/null || status=1
    done <<END
$lines
END
done
exit $status
