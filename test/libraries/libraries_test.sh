#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What the three libraries offer to and want from others, on every architecture that was built; what
# make install leaves behind; what scripts/deps says where it may not install.
set -u
cd "$ROOT" || exit 1

check() { # NAME COMMAND...: one case; the command's output is shown where it fails
  local name=$1 output
  shift
  if output=$("$@" 2>&1); then
    echo "ok $name"
  else
    echo "not ok $name"
    echo "$output"
  fi
}

same() { # EXPECTED ACTUAL
  [[ $1 == "$2" ]] || { printf 'expected: %s\nactual:   %s\n' "$1" "$2"; return 1; }
}

needed() { readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }
globals() { nm -g --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort; }

so_needs_only_libc() {
  needed "$1/libashlar.so" | grep -qx 'libc\.so\.6' || return 1
  same "" "$(needed "$1/libashlar.so" | grep -vx 'libc\.so\.6\|ld-linux.*')"
}
so_is_never_unloaded() { readelf -dW "$1/libashlar.so" | grep 'FLAGS_1.*NODELETE'; }
so_has_a_soname() { readelf -dW "$1/libashlar.so" | grep 'SONAME.*\[libashlar\.so\]'; }

# More than this, and a dlopen of the library finds no room in glibc's surplus of static TLS.
so_static_tls_at_most_64_bytes() {
  local bytes
  bytes=$(readelf -lW "$1/libashlar.so" | awk '$1 == "TLS" { print strtonum($6) }' | head -n 1)
  [[ ${bytes:-0} -le 64 ]] || { echo "$bytes bytes"; return 1; }
}

# Names of the C++ run time may leave us only as a wish that may stay unfulfilled (weak).
so_wants_no_cxx_runtime() {
  same "" "$(nm -D --undefined-only "$1/libashlar.so" | awk '$1 == "U" && $2 ~ /^_Z|^__cxa_(throw|guard|begin)/ { print $2 }')"
}
so_exports_only_known_names() {
  local known='ashlar_.*|_Zn[wa].*|_Zd[la].*|__libc_.*|(re|c)?alloc.*|malloc.*|reallocarray|aligned_alloc|posix_memalign'
  known+='|p?valloc|memalign|c?free|free_(aligned_)?sized|mallinfo2?|mallopt|__posix_memalign'
  nm -D --defined-only "$1/libashlar.so" | grep -q ' malloc$' || return 1
  same "" "$(nm -D --defined-only "$1/libashlar.so" | awk '{ sub(/@.*/, "", $3); print $3 }' | grep -vxE "$known")"
}

core_defines_only_ashlar_names() {
  globals "$1/libashlar-core.a" | grep -qx ashlar_malloc || return 1
  same "" "$(globals "$1/libashlar-core.a" | grep -v '^ashlar_')"
}
core_wants_no_malloc() {
  same "" "$(nm -u "$1/libashlar-core.a" | awk '{ print $2 }' | grep -xE 'malloc|free|calloc|realloc|_Zn[wa].*|_Zd[la].*')"
}

# Whoever wants malloc gets all the overrides: one member defines them together.
archive_overrides_in_one_member() {
  local member
  member=$(nm -gA --defined-only "$1/libashlar.a" | sed -n 's/.*:\([^:]*\):.* T malloc$/\1/p')
  [[ -n $member ]] || return 1
  local name
  for name in free calloc realloc aligned_alloc posix_memalign memalign valloc pvalloc malloc_usable_size ashlar_malloc; do
    nm -gA --defined-only "$1/libashlar.a" | grep -q ":$member:.* [TWi] $name\$" || { echo "no $name in $member"; return 1; }
  done
}
archive_hides_its_insides() {
  same "" "$(globals "$1/libashlar.a" | grep -E '^_ZNK?St')"
  # What operator new shares with the rest must not be visible from a shared library that contains us.
  same "" "$(readelf -sW "$1/libashlar.a" | awk '$5 != "LOCAL" && $6 == "DEFAULT" && $7 ~ /^[0-9]/ && $8 ~ /^_ZNK?6ashlar/ { print $8 }')"
}

# malloc is called before any constructor runs: there must be nothing for one to do.
no_static_constructors() {
  same "" "$(nm "$1/libashlar.so" "$1/libashlar.a" | grep -E '_GLOBAL__(sub_)?I')"
}

for folder in "$BUILD" "$BUILD/aarch64"; do
  prefix=${folder#"$BUILD"}
  for case in so_needs_only_libc so_is_never_unloaded so_has_a_soname so_static_tls_at_most_64_bytes \
    so_wants_no_cxx_runtime so_exports_only_known_names core_defines_only_ashlar_names core_wants_no_malloc \
    archive_overrides_in_one_member archive_hides_its_insides no_static_constructors; do
    check "${prefix:+${prefix#/}_}$case" "$case" "$folder"
  done
done

# The hardened library keeps the same promises, under its own name.
hardened_offers_the_same_names() {
  nm -D --defined-only "$BUILD/libashlar-hardened.so" | grep -q ' malloc$' || return 1
  same "$(nm -D --defined-only "$BUILD/libashlar.so" | awk '{ print $3 }')" \
    "$(nm -D --defined-only "$BUILD/libashlar-hardened.so" | awk '{ print $3 }')"
}
hardened_needs_only_libc() {
  same "" "$(needed "$BUILD/libashlar-hardened.so" | grep -vx 'libc\.so\.6\|ld-linux.*')"
  readelf -dW "$BUILD/libashlar-hardened.so" | grep 'SONAME.*\[libashlar-hardened\.so\]' || return 1
  readelf -dW "$BUILD/libashlar-hardened.so" | grep 'FLAGS_1.*NODELETE'
}
hardened_has_no_static_constructors() { same "" "$(nm "$BUILD/libashlar-hardened.so" | grep -E '_GLOBAL__(sub_)?I')"; }
for case in hardened_offers_the_same_names hardened_needs_only_libc hardened_has_no_static_constructors; do
  check "$case" "$case"
done

run_make() { make -s CXX="$CXX" BUILD="$(realpath --relative-to="$ROOT" "$BUILD")" "$@"; }

install_and_uninstall() {
  local to=$TMPDIR/image files
  run_make install DESTDIR="$to" PREFIX=/opt/ashlar || return 1
  files=$(cd "$to/opt/ashlar" && find . -type f | sort | tr '\n' ' ')
  same "" "$(for f in lib/libashlar.so lib/libashlar-hardened.so lib/libashlar.a lib/libashlar-core.a lib/pkgconfig/ashlar.pc include/ashlar/ashlar.h; do
    [[ $files == *"./$f "* ]] || echo "$f"
  done)" || return 1
  grep -x 'prefix=/opt/ashlar' "$to/opt/ashlar/lib/pkgconfig/ashlar.pc" || return 1
  grep -xE 'Version: [0-9]+\.[0-9]+\.[0-9]+' "$to/opt/ashlar/lib/pkgconfig/ashlar.pc" || return 1
  # The installed header and library are enough for a C program.
  printf '#include <ashlar/ashlar.h>\nint main(void) { return ashlar_version() != ASHLAR_VERSION; }\n' >"$TMPDIR/v.c"
  gcc -o "$TMPDIR/v" "$TMPDIR/v.c" -I"$to/opt/ashlar/include" -L"$to/opt/ashlar/lib" -lashlar || return 1
  LD_LIBRARY_PATH=$to/opt/ashlar/lib "$TMPDIR/v" || return 1
  run_make uninstall DESTDIR="$to" PREFIX=/opt/ashlar || return 1
  same "" "$(find "$to" -type f)"
}
check install_and_uninstall install_and_uninstall

# A machine with nothing on it and a user who may not install: told what to type, in one line.
deps_names_what_is_missing() {
  local bin=$TMPDIR/bin tool output
  mkdir -p "$bin"
  for tool in sed tr; do ln -s "$(command -v "$tool")" "$bin/$tool"; done
  printf '#!/bin/bash\nexit 1\n' >"$bin/dpkg-query"
  printf '#!/bin/bash\necho 1000\n' >"$bin/id"
  chmod +x "$bin/dpkg-query" "$bin/id"
  output=$(PATH=$bin /bin/bash scripts/deps build ab 2>&1) && { echo "it exits 0: $output"; return 1; }
  local line
  line=$(grep -E '^ *apt-get install ' <<<"$output") || { echo "no line: $output"; return 1; }
  for package in g++ make libmimalloc2.0 libjemalloc2 libtcmalloc-minimal4 python3 git sqlite3 nodejs; do
    [[ " $line " == *" $package "* ]] || { echo "$package is not in: $line"; return 1; }
  done
}
check deps_names_what_is_missing deps_names_what_is_missing
check deps_refuses_an_unknown_set bash -c '! scripts/deps nonsense'
