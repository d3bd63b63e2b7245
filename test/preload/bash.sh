#!/bin/bash
# SPDX-License-Identifier: MIT
#
# bash.sh - bash on Ashlar: arrays, associative arrays, subshells, pipes, here documents, traps.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

cat >"$TMPDIR/work.sh" <<'SCRIPT'
set -eu
declare -a numbers
declare -A squares
for ((i = 0; i < 20000; i++)); do
  numbers[i]=$((i * 7919 % 10007))
  squares[key$((i % 500))]=$((i * i))
done
echo "elements ${#numbers[@]} keys ${#squares[@]} last ${squares[key499]}"
sum=0
for n in "${numbers[@]}"; do sum=$((sum + n)); done
echo "sum $sum"
text=
for ((i = 0; i < 2000; i++)); do text+="piece-$i,"; done
echo "text ${#text} ${text//piece/p}" | cksum
IFS=, read -ra pieces <<<"$text"
echo "pieces ${#pieces[@]}"
printf '%s\n' "${numbers[@]}" | sort -n | uniq -c | sort -rn -k1,1 -k2,2n | head -n 3
nested=$(echo "$(echo "$(for i in 1 2 3; do (echo "sub $i $(echo inner)"); done)")")
echo "$nested"
for i in {1..60}; do
  (
    local_array=("${numbers[@]:0:200}")
    echo "child $i ${local_array[$i]} ${#local_array[@]}"
  ) &
  if ((i % 10 == 0)); then wait; fi
done | sort | cksum
fold() { local x=$1; [[ $x -le 1 ]] && { echo "$x"; return; }; echo $(($(fold $((x - 1))) + x)); }
fold 25
trap 'echo "trap ran"' EXIT
mapfile -t lines < <(seq 1 5000)
echo "lines ${#lines[@]} ${lines[4999]}"
case $text in *piece-1999,) echo "matched" ;; esac
[[ "abc123def" =~ ([0-9]+) ]] && echo "regex ${BASH_REMATCH[1]}"
SCRIPT

same_on_ashlar bash 20000 bash "$TMPDIR/work.sh"
check "bash: sum is right" grep -qx "sum $(awk 'BEGIN { for (i = 0; i < 20000; i++) s += i * 7919 % 10007; print s }')" "$TMPDIR/bash.default.out"
finish
