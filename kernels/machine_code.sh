#!/bin/sh
# What nvcc makes of a source of kernels, for machine_code_test: machine_code.sh NVCC ARCHITECTURE SOURCE FOLDER writes
# SOURCE.ARCHITECTURE.cubin, and beside it .log (the compiler's words on registers and spills) and .d (what it read).
set -eu
nvcc=$1 architecture=$2 source=$3 folder=$4
out=$folder/$(basename "$source" .cu).$architecture
mkdir -p "$folder"
"$nvcc" -std=c++20 -O3 -DTILTSHIFT_BF16_ONLY -I"$(dirname "$source")/.." -arch="$architecture" -Xptxas=-v \
  -MD -MF "$out.d" -MT "$out.cubin" -cubin -o "$out.cubin" "$source" >"$out.log" 2>&1 || {
  cat "$out.log" >&2
  rm -f "$out.cubin"
  exit 1
}
