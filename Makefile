# SPDX-License-Identifier: MIT
#
# The one build system of Ashlar. `make help` lists the targets; scripts/README.md says how tests are found.
#
# Owns: which sources go into which library, with which flags. Sources are found by wildcard, objects lie
# in build/obj/<configuration>/, and every object depends on its configuration's flags, so that a change
# of CXX or of a flag rebuilds what it must. Nothing may run at parse time that needs more than a bare
# Debian has: scripts/deps installs the compiler only once the first rule runs.

BUILD ?= build
PREFIX ?= /usr/local
V ?=
T ?=
JOBS ?= $(shell nproc)

ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif
MAKEFLAGS += --no-builtin-rules
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all
Q := $(if $(V),,@)

# The C driver that belongs to CXX: it links the shared library, so that no libstdc++ is asked for.
CC := $(if $(filter default,$(origin CC)),$(subst g++,gcc,$(subst clang++,clang,$(CXX))),$(CC))

# ---- sources ----------------------------------------------------------------------------------------
tool_src := sizeclass/print_sizeclasses.cc
core_src := $(filter-out $(tool_src),$(wildcard sizeclass/*.cc alloc/base/*.cc alloc/os/*.cc alloc/*.cc hash/*.cc chan/*.cc alloc/slice/*.cc))
cxx_src := $(filter alloc/override_cxx.cc,$(core_src))
libc_src := $(filter-out $(cxx_src),$(filter alloc/override_%.cc,$(core_src)))
embed_src := $(filter-out $(cxx_src) $(libc_src),$(core_src))

# Test sources; a pattern T leaves out those whose path does not contain it.
matching = $(if $(T),$(foreach f,$(1),$(if $(findstring $(T),$(f)),$(f))),$(1))
unit_src := $(call matching,$(filter-out test/programs/% test/linked/%,\
  $(foreach kind,test stress fuzz model,$(wildcard test/*/*_$(kind).cc test/*/*/*_$(kind).cc))))
white_src := $(filter test/white/%,$(unit_src))
black_src := $(filter-out $(white_src),$(unit_src))
program_src := $(wildcard test/programs/*.c test/programs/*.cc)
linked_src := $(wildcard test/linked/*.c test/linked/*.cc)

# ---- flags ------------------------------------------------------------------------------------------
warnings := -Wall -Wextra -Wshadow
# initial-exec TLS: one instruction instead of a call. no-builtin: malloc + memset must not become our own
# calloc calling itself. No C++ run time: the library must load into C programs.
core_flags := -std=c++20 -I. $(warnings) -fPIC -fno-exceptions -fno-rtti -fno-threadsafe-statics \
  -fvisibility=hidden -ftls-model=initial-exec -fno-builtin -ffunction-sections
# operator new catches what a new_handler throws.
file_flags = $(if $(filter %/override_cxx.cc,$(1)),-fexceptions)
unit_flags := -std=c++20 -I. $(warnings) -ftls-model=initial-exec
# Programs misuse malloc on purpose, and the compiler must neither optimise that away nor complain.
program_flags := -I. -O1 -g -pthread -fno-builtin -Wall -Wextra -Wno-unknown-warning-option \
  -Wno-free-nonheap-object -Wno-use-after-free -Wno-alloc-size-larger-than
program_cxx_flags := -std=c++20 $(program_flags) -Wno-mismatched-new-delete
# gc-sections: the hardened layer is dead code in libashlar.so, 14 KiB of it resident in every process. nodelete: threads
# may still run in us after a dlclose. lazy: with -z now, the 22 functions that we import cost
# every process 0 to 4 % of its start (5 runs of 2,000 /bin/true each, alternating); most processes use few of them.
so_flags := -shared -static-libgcc -Wl,--gc-sections -Wl,-soname,libashlar.so -Wl,-z,nodelete -Wl,-z,lazy -Wl,-z,relro \
  -Wl,--no-undefined -Wl,--exclude-libs,ALL -Wl,--as-needed -Wl,-O1 -Wl,--hash-style=gnu
gtest_src := /usr/src/googletest/googletest

# Configurations: folder, compilers, prefix of binutils, optimisation, sanitizer.
native := release hardened debug asan ubsan tsan fuzz
$(foreach c,$(native),$(eval cxx_$(c) := $(CXX))$(eval cc_$(c) := $(CC))$(eval tools_$(c) :=))
# libFuzzer is clang's.
cxx_fuzz := clang++
cc_fuzz := clang
cxx_aarch64 := aarch64-linux-gnu-g++
cc_aarch64 := aarch64-linux-gnu-gcc
tools_aarch64 := aarch64-linux-gnu-
out_release := $(BUILD)
$(foreach c,hardened debug asan ubsan tsan fuzz aarch64,$(eval out_$(c) := $(BUILD)/$(c)))
opt_release := -g -O2
# Frame pointers: a report says where a block was allocated and freed, from inside of the library, too.
opt_hardened := $(opt_release) -fno-omit-frame-pointer -DASHLAR_HARDENED=1
opt_aarch64 := $(opt_release) -fno-gnu-unique
opt_debug := -g -O0
opt_asan := -g -O1 -fno-omit-frame-pointer -fsanitize=address
opt_ubsan := -g -O1 -fsanitize=undefined -fno-sanitize-recover=all
opt_tsan := -g -O1 -fsanitize=thread
opt_fuzz := -g -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
# g++ marks inline constants as unique in the process, a binding that objcopy cannot take back; clang does not.
$(foreach c,$(native),$(if $(findstring clang,$(cxx_$(c))),,$(eval opt_$(c) += -fno-gnu-unique)))
# Maps exchange 16 bytes; clang calls libatomic for them where the whole file does not allow cmpxchg16b.
$(if $(filter x86_64,$(shell uname -m)),$(foreach c,$(native),$(eval opt_$(c) += -mcx16)))

# ---- packages: scripts/deps once, for all goals together, before the first compilation -----------------
goals := $(or $(MAKECMDGOALS),all)
deps_sets := build $(if $(findstring clang,$(CXX))$(filter fuzz,$(goals)),clang) $(if $(filter lint,$(goals)),lint) \
  $(if $(filter ab bench-programs,$(goals)),ab) $(if $(filter bench-hash%,$(goals)),hash) $(if $(filter bench bench-all bench-proofs,$(goals)),bench) \
  $(if $(filter bench-slices lint,$(goals)),slices) $(if $(filter bench-chan,$(goals)),chan) $(if $(filter test-programs,$(goals)),programs) \
  $(if $(filter test test-% asan ubsan tsan fuzz soak aarch64,$(goals)),test)
.PHONY: deps FORCE
deps:
	@scripts/deps $(deps_sets)

# ---- libraries: $(call library_rules,configuration) -----------------------------------------------------
# Reads the symbol table of an object: names that it offers to other objects, and those that it wants.
# Inline functions of the C++ library are no offer.
offered = readelf -sW $(1) | awk '$$5 != "LOCAL" && $$6 == "DEFAULT" && $$7 != "UND" && $$8 !~ /^_ZNK?St/ { print $$8 }'
wanted = readelf -sW $(1) | awk '$$7 == "UND" && $$8 != "" { print $$8 }'

define library_rules
objs_$(1) = $$(patsubst %.cc,$(BUILD)/obj/$(1)/%.o,$$(1))

$(BUILD)/obj/$(1)/flags: FORCE | deps
	@mkdir -p $$(@D)
	@{ echo '$(cxx_$(1)) $(core_flags) $(unit_flags) $(program_flags) $(so_flags) $(opt_$(1))'; $(cxx_$(1)) --version; } >$$@.new
	@cmp -s $$@.new $$@ && rm $$@.new || mv $$@.new $$@

$(BUILD)/obj/$(1)/%.o: %.cc $(BUILD)/obj/$(1)/flags
	@mkdir -p $$(@D); echo "  CXX      $$@"
	$(Q)$(cxx_$(1)) $(core_flags) $$(call file_flags,$$<) $(opt_$(1)) -MMD -MP -c -o $$@ $$<

$(BUILD)/obj/$(1)/%.archive.o: %.cc $(BUILD)/obj/$(1)/flags
	@mkdir -p $$(@D); echo "  CXX      $$@"
	$(Q)$(cxx_$(1)) $(core_flags) $$(call file_flags,$$<) $(opt_$(1)) -DASHLAR_STATIC_ARCHIVE=1 -MMD -MP -c -o $$@ $$<

$(out_$(1))/libashlar.so: $$(call objs_$(1),$(core_src))
	@mkdir -p $$(@D); echo "  LINK     $$@"
	$(Q)$(cc_$(1)) $(so_flags) $(opt_$(1)) -o $$@ $$^

# One object holds everything, so that any reference to one name pulls all of them in: as members of their
# own, the overrides that a program does not name itself would be left to libc.
$(out_$(1))/libashlar-core.a: $$(call objs_$(1),$(embed_src))
	@mkdir -p $$(@D); echo "  AR       $$@"
	$(Q)$(tools_$(1))ld -r --force-group-allocation -o $$(@:.a=.o) $$^
	$(Q)$(tools_$(1))objcopy -R .llvm_addrsig -w -G 'ashlar_*' $$(@:.a=.o)
	$(Q)rm -f $$@ && $(tools_$(1))ar rcsD $$@ $$(@:.a=.o) && rm $$(@:.a=.o)

# operator new and delete are a member apart: they name the C++ run time, which a C program has not. What
# they use of the hidden names stays global (and hidden) beside the public names.
$(out_$(1))/libashlar.a: $$(call objs_$(1),$(embed_src) $(libc_src)) $$(patsubst %.cc,$(BUILD)/obj/$(1)/%.archive.o,$(cxx_src))
	@mkdir -p $$(@D); echo "  AR       $$@"
	$(Q)$(tools_$(1))ld -r --force-group-allocation -o $$(@:.a=.o) $$(filter-out %.archive.o,$$^)
	$(Q){ $$(call offered,$$(@:.a=.o)); $(if $(cxx_src),$$(call wanted,$$(filter %.archive.o,$$^)),:); } >$$@.keep
	$(Q)$(tools_$(1))objcopy -R .llvm_addrsig --keep-global-symbols=$$@.keep $$(@:.a=.o)
	$(Q)rm -f $$@ && $(tools_$(1))ar rcsD $$@ $$(@:.a=.o) $$(filter %.archive.o,$$^) && rm $$(@:.a=.o) $$@.keep
endef

# ---- test binaries: $(call test_rules,configuration) ----------------------------------------------------
# Models run on relacy's own threads and memory model: for no sanitizer and no emulator.
# Black-box tests see what a user links; white-box tests, and everything under a sanitizer, see the objects.
define test_rules
embed_$(1) := $$(call objs_$(1),$(embed_src))
subject_$(1) := $(if $(filter asan ubsan tsan,$(1)),$$(embed_$(1)),$(out_$(1))/libashlar-core.a)
gtest_$(1) := $(if $(filter aarch64,$(1)),$(out_$(1))/gtest/libgtest.a,-lgtest -lgtest_main)
unit_$(1) := $(patsubst %.cc,$(out_$(1))/%,$(filter-out $(if $(filter asan ubsan tsan aarch64,$(1)),%_model.cc),$(unit_src)))
programs_$(1) := $(addprefix $(out_$(1))/,$(basename $(program_src)))
linked_$(1) := $(foreach s,-dyn -static,$(addsuffix $(s),$(addprefix $(out_$(1))/,$(basename $(linked_src)))))

$(patsubst %.cc,$(out_$(1))/%,$(black_src)): $(out_$(1))/%: %.cc $(BUILD)/obj/$(1)/flags $$(subject_$(1)) $$(filter %.a,$$(gtest_$(1)))
	@mkdir -p $$(@D); echo "  TEST     $$@"
	$(Q)$(cxx_$(1)) $(unit_flags) $(opt_$(1)) $(if $(filter aarch64,$(1)),-isystem $(gtest_src)/include) \
	  -MMD -MP -MF $$@.d -o $$@ $$< $$(subject_$(1)) $$(gtest_$(1)) -pthread

$(patsubst %.cc,$(out_$(1))/%,$(white_src)): $(out_$(1))/%: %.cc $(BUILD)/obj/$(1)/flags $$(embed_$(1)) $$(filter %.a,$$(gtest_$(1)))
	@mkdir -p $$(@D); echo "  TEST     $$@"
	$(Q)$(cxx_$(1)) $(unit_flags) $(opt_$(1)) $(if $(filter aarch64,$(1)),-isystem $(gtest_src)/include) \
	  -MMD -MP -MF $$@.d -o $$@ $$< $$(embed_$(1)) $$(gtest_$(1)) -pthread

$(out_$(1))/test/programs/%: test/programs/%.c $(BUILD)/obj/$(1)/flags
	@mkdir -p $$(@D); echo "  TEST     $$@"
	$(Q)$(cc_$(1)) $(program_flags) -MMD -MP -MF $$@.d -o $$@ $$<

$(out_$(1))/test/programs/%: test/programs/%.cc $(BUILD)/obj/$(1)/flags
	@mkdir -p $$(@D); echo "  TEST     $$@"
	$(Q)$(cxx_$(1)) $(program_cxx_flags) -MMD -MP -MF $$@.d -o $$@ $$<

$(call linked_rules,$(1),dyn,)
$(call linked_rules,$(1),static,-static)
endef

define linked_rules
$(out_$(1))/test/linked/%-$(2): test/linked/%.c $(out_$(1))/libashlar.a $(BUILD)/obj/$(1)/flags
	@mkdir -p $$(@D); echo "  TEST     $$@"
	$(Q)$(cc_$(1)) $(program_flags) $(3) -MMD -MP -MF $$@.d -o $$@ $$< $(out_$(1))/libashlar.a

$(out_$(1))/test/linked/%-$(2): test/linked/%.cc $(out_$(1))/libashlar.a $(BUILD)/obj/$(1)/flags
	@mkdir -p $$(@D); echo "  TEST     $$@"
	$(Q)$(cxx_$(1)) $(program_cxx_flags) $(3) -MMD -MP -MF $$@.d -o $$@ $$< $(out_$(1))/libashlar.a
endef

$(foreach c,$(native) aarch64,$(eval $(call library_rules,$(c)))$(eval $(call test_rules,$(c))))

# Debian has GoogleTest compiled for this machine only; for the other one, from Debian's copy of its source.
$(BUILD)/aarch64/gtest/libgtest.a: $(BUILD)/obj/aarch64/flags
	@mkdir -p $(@D); echo "  CXX      $@"
	$(Q)for f in gtest-all gtest_main; do \
	  $(cxx_aarch64) -std=c++20 -O1 -w -isystem $(gtest_src)/include -I$(gtest_src) -c -o $(@D)/$$f.o $(gtest_src)/src/$$f.cc || exit 1; \
	done
	$(Q)rm -f $@ && $(tools_aarch64)ar rcsD $@ $(@D)/gtest-all.o $(@D)/gtest_main.o

# ---- targets --------------------------------------------------------------------------------------------
hardened_library := $(BUILD)/libashlar-hardened.so
libraries = $(addprefix $(out_$(1))/,libashlar.so libashlar.a libashlar-core.a)
.PHONY: all debug asan ubsan tsan aarch64 test ab bench-programs lint install uninstall clean help

## all: the release libraries, build/libashlar.so, libashlar-hardened.so, libashlar.a and libashlar-core.a (the default)
all: $(call libraries,release) $(hardened_library)

# A name of its own beside the others: programs are linked with neither or either.
$(hardened_library): $(call objs_hardened,$(core_src))
	@mkdir -p $(@D); echo "  LINK     $@"
	$(Q)$(cc_hardened) $(subst libashlar.so,libashlar-hardened.so,$(so_flags)) $(opt_hardened) -o $@ $^

## debug: the same with -O0, in build/debug/
debug: $(call libraries,debug)

## asan, ubsan, tsan: the unit tests under a sanitizer, in build/asan/test/ ...
$(foreach c,asan ubsan tsan,$(eval $(c): $(unit_$(c))))

## aarch64: libraries and test programs for AArch64, cross-built in build/aarch64/
aarch64: $(call libraries,aarch64) $(unit_aarch64) $(programs_aarch64) $(linked_aarch64)

# Of the unit tests on the hardened library those that `make test` runs: the ones that ask nothing of size classes
# and natural alignment, which its canaries change. `make test-hardened` runs all.
hardened_tests := $(filter %/api_aligned_test %/api_limits_test %/api_realloc_test %/fork_stress %/random_ops_stress \
  %/thread_churn_stress,$(unit_hardened))

## test: all tests; T=text runs only those whose path contains the text
test: all aarch64 $(hardened_tests) $(unit_release) $(programs_release) $(linked_release)
	@scripts/run-tests --build '$(abspath $(BUILD))' --jobs $(JOBS) --filter '$(T)' --cxx '$(CXX)' --scripts test \
	  $(unit_release) $(hardened_tests) $(unit_aarch64)

## test-programs: servers, browsers, languages and tools on Ashlar (test/applications/); installs what it needs
.PHONY: test-programs
test-programs: all
	@scripts/run-tests --build '$(abspath $(BUILD))' --jobs $(JOBS) --filter '$(T)' --cxx '$(CXX)' --scripts test/applications

## test-hardened, test-debug, test-asan, test-ubsan, test-tsan, test-aarch64: the unit tests of that configuration
define run_units
test-$(1): $$(unit_$(1))
	@scripts/run-tests --build '$$(abspath $$(BUILD))' --jobs $$(JOBS) --filter '$$(T)' --cxx '$$(CXX)' $$(unit_$(1))
endef
$(foreach c,hardened debug asan ubsan tsan aarch64,$(eval .PHONY: test-$(c))$(eval $(call run_units,$(c))))

## fuzz: every fuzz target for FUZZ_SECONDS=600 with clang's libFuzzer, ASan and UBSan; T=api picks one
FUZZ_SECONDS ?= 600
fuzz_targets := $(patsubst test/white/%.cc,$(BUILD)/fuzz/%,$(filter %_fuzz.cc,$(white_src)))
$(BUILD)/fuzz/%_fuzz: test/white/%_fuzz.cc $(BUILD)/obj/fuzz/flags $(call objs_fuzz,$(embed_src))
	@mkdir -p $(@D); echo "  FUZZ     $@"
	$(Q)$(cxx_fuzz) $(unit_flags) $(opt_fuzz) -fsanitize=fuzzer -MMD -MP -MF $@.d -o $@ $< $(call objs_fuzz,$(embed_src)) -lgtest -pthread

.PHONY: fuzz fuzz-targets
fuzz-targets: $(fuzz_targets)
fuzz: fuzz-targets
	@scripts/fuzz --build '$(abspath $(BUILD))' --seconds $(FUZZ_SECONDS) $(fuzz_targets)

## soak: the stress over all modes for SOAK_SECONDS=3600, or SOAK_OPS operations in all
SOAK_SECONDS ?= 3600
SOAK_OPS ?=
.PHONY: soak
soak: $(BUILD)/test/alloc/pattern_stress
	@scripts/soak --build '$(abspath $(BUILD))' $(if $(SOAK_OPS),--ops $(SOAK_OPS),--seconds $(SOAK_SECONDS))

## ab: real programs and our benchmarks under six allocators, time and memory side by side, with significance
ab: all bench-programs
	@BUILD='$(abspath $(BUILD))' bench/ab $(AB)

## bench: all of it, into build/bench/report/; can be stopped and goes on. SLICE=120 measures for so many seconds
SLICE ?=
bench: all bench-all
	@BUILD='$(abspath $(BUILD))' bench/full $(SLICE)

## bench-programs, bench-all: the programs of bench/, without Ashlar, in build/bench/; with the micro suite
include $(wildcard bench/bench.mk bench/*/bench.mk)
$(BENCH_PROGRAMS): | deps

$(BUILD)/tools/%: sizeclass/%.cc $(BUILD)/obj/release/flags
	@mkdir -p $(@D); echo "  CXX      $@"
	$(Q)$(CXX) -std=c++20 -I. $(warnings) -O1 -MMD -MP -MF $@.d -o $@ $<

## lint: formatting, layers, shell scripts, clang-tidy, and both compilers' warnings
lint: | deps
	@CORE_FLAGS='$(core_flags) $(opt_release)' UNIT_FLAGS='$(unit_flags) $(opt_release)' \
	  PROGRAM_FLAGS='$(program_flags)' BENCH_FLAGS='$(filter-out -M%,$(BENCH_CXXFLAGS))' \
	  scripts/lint --cache '$(BUILD)/lint' --jobs $(JOBS)

# The modules' public headers that exist, each installed as <ashlar/...>.
map_headers := $(addprefix hash/,hash.h hash_map.h word_map.h core.h words.h tables.h migration.h counters.h exceptions.h bucket.h layout.h tags.h policies.h mix.h)
slice_headers := sizeclass/growth.h alloc/slice/*.h
public_headers := $(wildcard alloc/ashlar.h alloc/epoch.h chan/chan.h chan/chan.hpp $(map_headers) $(slice_headers))
lib_dir = $(DESTDIR)$(PREFIX)/lib
include_dir = $(DESTDIR)$(PREFIX)/include/ashlar

## install: libraries, headers and ashlar.pc below DESTDIR= and PREFIX= (/usr/local)
install: all
	install -d '$(lib_dir)/pkgconfig' '$(include_dir)'
	install -m 755 $(BUILD)/libashlar.so $(hardened_library) '$(lib_dir)'
	install -m 644 $(BUILD)/libashlar.a $(BUILD)/libashlar-core.a '$(lib_dir)'
	install -m 644 $(public_headers) '$(include_dir)'
	@# In the tree headers name each other by their path from its root; installed they are one folder.
	sed -i -E 's|^#include "[a-z/]+/([a-z_]+\.h(pp)?)"|#include <ashlar/\1>|' $(addprefix '$(include_dir)'/,$(notdir $(public_headers)))
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 scripts/ashlar '$(DESTDIR)$(PREFIX)/bin'
	@version=$$(awk '$$2 == "ASHLAR_VERSION" { printf "%d.%d.%d", $$3 / 10000, $$3 / 100 % 100, $$3 % 100 }' alloc/ashlar.h) && \
	  sed -e 's|@PREFIX@|$(PREFIX)|' -e "s|@VERSION@|$$version|" scripts/ashlar.pc.in >$(BUILD)/ashlar.pc
	install -m 644 $(BUILD)/ashlar.pc '$(lib_dir)/pkgconfig'

## uninstall: what install put there
uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/bin/ashlar'
	rm -f $(addprefix '$(lib_dir)'/,libashlar.so libashlar-hardened.so libashlar.a libashlar-core.a pkgconfig/ashlar.pc)
	rm -f $(addprefix '$(include_dir)'/,$(notdir $(public_headers)))
	if [ -d '$(include_dir)' ]; then rmdir --ignore-fail-on-non-empty '$(include_dir)'; fi

## clean: removes the build folder
clean:
	rm -rf '$(BUILD)'

## help: this list (variables: CXX=clang++ BUILD=build-clang JOBS=2 V=1)
help:
	@sed -n 's/^## //p' Makefile

-include $(if $(wildcard $(BUILD)),$(shell find $(BUILD) -name '*.d' -type f))
