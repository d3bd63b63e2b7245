#!/bin/bash
# SPDX-License-Identifier: MIT
#
# gxx.sh - g++ on Ashlar: files of this project compiled to the same objects as on libc, linked, and run.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"
cd "$ROOT" || exit 1

cat >"$TMPDIR/work.sh" <<'SCRIPT'
set -eu
out=$(mktemp -d "$TMPDIR/gxx.XXXXXX")
# A test with all of GoogleTest in it, and the tool of sizeclass. -frandom-seed: the names in the objects must not vary.
g++ -std=c++20 -O1 -I. -frandom-seed=1 -c -o "$out/test.o" test/alloc/random_ops_stress.cc
g++ -std=c++20 -O2 -I. -frandom-seed=1 -c -o "$out/tool.o" sizeclass/print_sizeclasses.cc
cd "$out"
sha256sum test.o tool.o
g++ -o tool tool.o
./tool
SCRIPT

same_on_ashlar gxx 10000 bash "$TMPDIR/work.sh"
check "g++: the tool prints the class of 257 bytes" grep -qw 288 "$TMPDIR/gxx.default.out"
finish
