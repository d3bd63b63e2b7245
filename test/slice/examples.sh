#!/bin/bash
# SPDX-License-Identifier: MIT
#
# examples.sh - the example programs of slices, from C and from C++: linked with libashlar.a (test/linked), compiled against
# an installation, beside glibc's malloc (libashlar-core.a), and with the shared library under another allocator.
# shellcheck source=test/support/lib.sh
source "$ROOT/test/support/lib.sh"

expect() { # TEXT COMMAND...: it succeeds and prints this line
  local text=$1
  shift
  "$@" >"$TMPDIR/out" && grep -qxF "$text" "$TMPDIR/out"
}

says_c='1088890 bytes'
says_cxx='100000 elements'
for kind in dyn static; do
  check "C, archive, $kind" expect "$says_c" "$BUILD/test/linked/growslice_c-$kind"
  check "C++, archive, $kind" expect "$says_cxx" "$BUILD/test/linked/slice_cxx-$kind"
  check "C, archive, $kind, aarch64" expect "$says_c" \
    qemu-aarch64 -L /usr/aarch64-linux-gnu "$BUILD/aarch64/test/linked/growslice_c-$kind"
done

# As a user has it: <ashlar/...> and the flags of pkg-config.
prefix=$TMPDIR/installed
check "install" make -C "$ROOT" -s install BUILD="$BUILD" CXX="$CXX" PREFIX="$prefix"
sed -E 's#"[a-z/]+/(growslice|slice|shared_slice|ashlar)\.h"#<ashlar/\1.h>#' "$ROOT/test/linked/growslice_c.c" >"$TMPDIR/c.c"
sed -E 's#"[a-z/]+/(growslice|slice|shared_slice|ashlar)\.h"#<ashlar/\1.h>#' "$ROOT/test/linked/slice_cxx.cc" >"$TMPDIR/cxx.cc"
check "the C example names installed headers only" exits_with 1 grep -nE '"(alloc|slice)/' "$TMPDIR/c.c"
cc=${CXX/clang++/clang}
cc=${cc/g++/gcc}
# check.h of the tests is quoted, found by -iquote; the headers must come from the installation.
compiled() { # OUTPUT COMPILER FILE FLAGS...
  local out=$1 compiler=$2 file=$3
  shift 3
  "$compiler" -O2 -Wall -Wextra -Werror -iquote "$ROOT" -o "$TMPDIR/$out" "$file" "$@"
}
include=-I$prefix/include
check "C, installed, shared" compiled c-so "$cc" "$TMPDIR/c.c" "$include" -std=c99 -D_GNU_SOURCE -L"$prefix/lib" -Wl,-rpath,"$prefix/lib" -lashlar
check "C++, installed, shared" compiled cxx-so "$CXX" "$TMPDIR/cxx.cc" "$include" -std=c++20 -L"$prefix/lib" -Wl,-rpath,"$prefix/lib" -lashlar -pthread
check "C, installed, core" compiled c-core "$cc" "$TMPDIR/c.c" "$include" -L"$prefix/lib" -lashlar-core
check "C++, installed, core" compiled cxx-core "$CXX" "$TMPDIR/cxx.cc" "$include" -std=c++20 -L"$prefix/lib" -lashlar-core -pthread
for how in so core; do
  check "C, $how, runs" expect "$says_c" "$TMPDIR/c-$how"
  check "C++, $how, runs" expect "$says_cxx" "$TMPDIR/cxx-$how"
done

# malloc is another allocator's: slices take Ashlar's memory all the same.
mimalloc=$(ldconfig -p | awk '$1 == "libmimalloc.so.2" { print $NF; exit }')
check "mimalloc is there" test -e "$mimalloc"
for how in so core; do
  check "C, $how, malloc is mimalloc's" env LD_PRELOAD="$mimalloc" "$TMPDIR/c-$how"
  check "C++, $how, malloc is mimalloc's" env LD_PRELOAD="$mimalloc" "$TMPDIR/cxx-$how"
done

cat >"$TMPDIR/plain.cc" <<'END'
#include <ashlar/slice.h>
int main() {
  ashlar::slice<int> s{1, 2, 3};
  for (int i = 0; i < 100000; ++i) s.push_back(i);
  return s.size() == 100003 && s.sub(0, 3)[2] == 3 ? 0 : 1;
}
END
check "a program without exceptions" compiled plain "$CXX" "$TMPDIR/plain.cc" "$include" -std=c++20 -fno-exceptions \
  -fno-rtti -L"$prefix/lib" -lashlar-core
check "it runs" "$TMPDIR/plain"
finish
