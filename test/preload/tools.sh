#!/bin/bash
# SPDX-License-Identifier: MIT
#
# tools.sh - small tools and pipes on Ashlar: true, env, ls, find | xargs, tar, gzip, sort, awk, sed.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

same_on_ashlar env 0 env SOME_NAME=value printenv SOME_NAME
same_on_ashlar ls 0 ls -lR --time-style=full-iso "$ROOT/alloc" "$ROOT/sizeclass"
same_on_ashlar sort 0 sh -c "awk 'BEGIN { for (i = 0; i < 200000; i++) print (i * 7919) % 1000003, i }' | sort -n --parallel=2 | cksum"
same_on_ashlar sed 0 sed -E -e 's/([a-z]+)_([a-z]+)/\2_\1/g' -e '/^$/d' "$ROOT/alloc/ashlar.h" "$ROOT/alloc/alloc.h"
same_on_ashlar find 0 sh -c "find '$ROOT/alloc' '$ROOT/test' -type f -name '*.[ch]*' -print0 | sort -z | xargs -0 -n 7 cksum"

cat >"$TMPDIR/archive.sh" <<'SCRIPT'
set -eu
out=$(mktemp -d "$TMPDIR/archive.XXXXXX")
tar -C "$ROOT" --sort=name --mtime=@0 --owner=0 --group=0 -cf - alloc sizeclass test | gzip -9n >"$out/tree.tar.gz"
gzip -dc "$out/tree.tar.gz" | cksum
mkdir "$out/tree"
tar -xzf "$out/tree.tar.gz" -C "$out/tree"
diff -r "$ROOT/alloc" "$out/tree/alloc" && echo "the copy is the same"
SCRIPT
same_on_ashlar archive 0 sh "$TMPDIR/archive.sh"

for mode in "${modes[@]}"; do
  check "true, $mode" on_ashlar "$mode" true
  check "false, $mode" exits_with 1 on_ashlar "$mode" false
  check "a missing program, $mode" exits_with 127 on_ashlar "$mode" env "$TMPDIR/no-such-program"
done
finish
