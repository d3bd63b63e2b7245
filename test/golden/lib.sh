# shellcheck shell=bash
# SPDX-License-Identifier: MIT
#
# lib.sh - where the golden files of instruction counts lie; sourced by update and by instructions_test.sh.

GOLDEN_FOLDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# golden_file LIBRARY - the golden file of the compiler that made the library, by its own word: two compilers' counts
# differ, and what CXX says now may not be what it said at the build.
golden_file() {
  local comment
  comment=$(readelf -p .comment "$1")
  case $comment in
    *clang*) echo "$GOLDEN_FOLDER/pairs.clang++.txt" ;;
    *GCC*) echo "$GOLDEN_FOLDER/pairs.g++.txt" ;;
    *) echo "no compiler is named in $1" >&2; return 1 ;;
  esac
}
