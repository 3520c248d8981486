#!/bin/sh
# inspect_weights from the command line: every command, every exit code, hostile files.
. "$(dirname "$0")/tools_lib.sh"
W=$T/inspect_weights
G=$top/tests/golden

check "info of a PyTorch checkpoint" 0 "$W" info "$G/weights_checkpoint.pt"
prints "format   pytorch zip"
prints "imports  torch._utils._rebuild_tensor_v2"
prints "optimizer.state.0.exp_avg	F32	(4, 3)"
check "info without the list" 0 "$W" info -s "$G/weights_checkpoint.pt"
if grep -q exp_avg "$tmp/.out"; then bad "a summary has no list"; else good; fi
check "info as JSON" 0 "$W" info --json "$G/weights_tensor.pt"
prints '"tensors":[{"name":"tensor","dtype":"F32","shape":[2,3]}]'
check "info of several" 0 "$W" info "$G/weights_tensor.pt" "$G/weights_views_legacy.pt"
prints "format   pytorch legacy"
check "info of a Python object" 4 "$W" info "$G/weights_module.pt" "$G/weights_tensor.pt"
says "would import torch.nn.modules.linear.Linear"
prints "weights_tensor.pt"
check "info of a program" 4 "$W" info "$G/weights_script.pt"
says "TorchScript program"
check "info of complex numbers" 4 "$W" info "$G/weights_complex.pt"
says "torch.ComplexFloatStorage"
check "info of nothing" 1 "$W" info none.pt
says "none.pt: cannot open"
check "info of a folder" 6 "$W" info .
: >empty.pt
check "info of an empty file" 4 "$W" info empty.pt

check "a model is made" 0 "$T/make_untrained" -o m --seed 3
check "info of a BiomedCLIP" 0 "$W" info -s m/clip.safetensors
prints "layout   BiomedCLIP, open_clip, unpublished sizes"
check "info of a SAM" 0 "$W" info -s m/sam.safetensors
prints "layout   SAM"

check "verify" 0 "$W" verify "$G/weights_checkpoint.pt" "$G/weights_views_legacy.pt"
prints "weights_views_legacy.pt: pytorch legacy, 12 tensors: ok"
check "verify finds NaN" 7 "$W" verify "$G/weights_types.pt"
says "tensor 'special': 3 of 6 numbers are NaN or infinite"
check "unless allowed" 0 "$W" verify --allow-nan "$G/weights_types.pt"
hash=$(sha256sum <"$G/weights_tensor.pt" | cut -c 1-12)
check "verify with a hash" 0 "$W" verify --sha256 "$hash" "$G/weights_tensor.pt"
check "verify with a wrong hash" 8 "$W" verify --sha256 000000 "$G/weights_tensor.pt"
says "should begin with 000000"
check "verify with no hash" 2 "$W" verify --sha256 xyz "$G/weights_tensor.pt"
cp "$G/weights_tensor.pt" sam_vit_b_01ec64.pth
check "a published name that is something else" 8 "$W" verify sam_vit_b_01ec64.pth
says "should begin with ec2df62732614e57"
head -c 1500 "$G/weights_tensor.pt" >cut.pt
check "verify a file cut short" 4 "$W" verify cut.pt
says "cut short"
LC_ALL=C sed 's/\x00\x00\x80?/\x00\x00\x81?/' "$G/weights_tensor.pt" >flip.pt
check "verify a flipped bit" 4 "$W" verify flip.pt
says "CRC-32"

check "convert keeps types and values" 0 "$W" convert "$G/weights_types.pt" -o c/t.safetensors
check "convert keeps types and values" 0 "$W" diff "$G/weights_types.pt" c/t.safetensors
prints "0 of 17 tensors differ"
check "info of the converted" 0 "$W" info c/t.safetensors
prints "float8_e4m3fn	F8_E4M3	(3, 2)"
check "convert to bf16" 0 "$W" convert m/clip.safetensors -o b.safetensors --dtype bf16
check "bf16 differs a little" 8 "$W" diff m/clip.safetensors b.safetensors
check "bf16 differs a little" 0 "$W" diff m/clip.safetensors b.safetensors --tolerance 0.05
check "metadata is kept" 0 "$W" info -s b.safetensors
prints "metadata mcs.config = "
check "convert a part" 0 "$W" convert "$G/weights_checkpoint.pt" --prefix state_dict. -o p.safetensors
prints "p.safetensors: 7 tensors"
check "names lose the prefix" 0 "$W" info p.safetensors
prints "0.weight	F32	(4, 3)"
check "a prefix nothing has" 1 "$W" convert "$G/weights_tensor.pt" --prefix x. -o q.safetensors
absent "no output of a failed run" q.safetensors
check "f16 that overflows is said" 0 "$W" convert "$G/weights_expected.safetensors" --dtype f16 \
    -o f.safetensors
check "to the other layout" 0 "$W" convert m/clip.safetensors --layout hf -o hf.safetensors
check "to the other layout" 0 "$W" info hf.safetensors
prints "vision_model.encoder.layers.0.self_attn.q_proj.weight"
check "and back" 0 "$W" convert hf.safetensors --layout open_clip -o oc.safetensors
check "and back" 0 "$W" diff m/clip.safetensors oc.safetensors
check "SAM to SAM" 0 "$W" convert m/sam.safetensors --layout sam -o s.safetensors
check "SAM to SAM" 0 "$W" diff m/sam.safetensors s.safetensors
check "a layout it has not" 1 "$W" convert m/sam.safetensors --layout hf -o x.safetensors
check "convert wants an output" 2 "$W" convert m/sam.safetensors
check "a full disk" 6 "$W" convert m/sam.safetensors -o /dev/full
check "a dry run writes nothing" 0 "$W" convert m/sam.safetensors -o dry.safetensors --dry-run
absent "a dry run writes nothing" dry.safetensors

check "diff of names and shapes" 8 "$W" diff p.safetensors "$G/weights_checkpoint.pt"
prints "0.weight	only in the first"
prints "optimizer.state.0.step	only in the second"
check "diff of a file with itself" 0 "$W" diff "$G/weights_types.pt" "$G/weights_types.pt"

check "dump" 0 "$W" dump "$G/weights_tensor.pt" tensor
prints "min 0 max 5 mean 2.5"
prints "0 1 2 3 4 5"
check "dump a few" 0 "$W" dump -n 2 "$G/weights_tensor.pt" tensor
prints "0 1 ..."
check "dump to NumPy" 0 "$W" dump "$G/weights_tensor.pt" tensor -o d/t.npy
has "dump to NumPy" d/t.npy "'shape': (2, 3, )"
check "dump what is absent" 1 "$W" dump "$G/weights_tensor.pt" nothing
says "there is no tensor 'nothing'"

check "no command" 2 "$W"
check "a command it has not" 2 "$W" show "$G/weights_tensor.pt"
says "expected: info FILE"
check "one file for diff" 2 "$W" diff "$G/weights_tensor.pt"
check "help" 0 "$W" --help
prints "usage: inspect_weights"
report
