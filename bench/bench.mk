# SPDX-License-Identifier: MIT
#
# bench.mk - builds the benchmark programs; included by the Makefile, whose variables it uses.
#
# Owns the targets bench-programs, bench-all and bench-proofs, and $(BUILD)/bench. The programs know nothing of Ashlar: the
# allocator comes by LD_PRELOAD at run time. What needs no library but libc and libstdc++ (BENCH_CC) is enough for
# `make ab`; the micro suite needs libbenchmark-dev, place needs libhwloc-dev.
BENCH_CXXFLAGS = -std=c++20 -O2 -g -pthread -Wall -Wextra -Wshadow -I. -MMD -MP
BENCH_CFLAGS = -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -MMD -MP

BENCH_CC := server producer_consumer batches large_blocks object_graph realloc_growth pairs false_sharing lifetimes \
  thread_churn size_drift
BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,$(BENCH_CC) startup launch libempty.so)
BENCH_MICRO := $(patsubst bench/micro/%.cc,$(BUILD)/bench/obj/micro/%.o,$(wildcard bench/micro/*.cc))
BENCH_PLACE := $(patsubst bench/place/%.cc,$(BUILD)/bench/obj/place/%.o,$(wildcard bench/place/*.cc))
BENCH_ALL := $(BENCH_PROGRAMS) $(BUILD)/bench/micro $(BUILD)/bench/place

.PHONY: bench-programs bench-all bench bench-proofs
bench-programs: $(BENCH_PROGRAMS)
bench-all: $(BENCH_ALL)

# Wants a quiet machine. PROOF=slow picks one of aa, slow, fat.
PROOF ?=
bench-proofs: all bench-all $(addprefix $(BUILD)/bench/planted-,control.so slow.so fat.so)
	@BUILD='$(abspath $(BUILD))' bench/proofs $(PROOF)

# What the tests of test/golden and test/bench run.
test: $(BENCH_ALL) $(addprefix $(BUILD)/bench/planted-,control.so slower.so fat.so)

$(BENCH_CC:%=$(BUILD)/bench/%): $(BUILD)/bench/%: bench/%.cc | $(BUILD)/bench
	@echo "  BENCH    $@"
	$(Q)$(CXX) $(BENCH_CXXFLAGS) -MF $@.d -o $@ $<

# Growable arrays: slices live in the program, on libashlar-core.a; the others' malloc comes by LD_PRELOAD.
$(BUILD)/bench/slices: bench/slices.cc $(BUILD)/libashlar-core.a | $(BUILD)/bench deps
	@echo "  BENCH    $@"
	$(Q)$(CXX) $(BENCH_CXXFLAGS) -MF $@.d -o $@ $< $(BUILD)/libashlar-core.a

$(BUILD)/bench/slice_waste $(BUILD)/bench/shared_slices: $(BUILD)/bench/%: bench/%.cc $(BUILD)/libashlar-core.a | $(BUILD)/bench deps
	@echo "  BENCH    $@"
	$(Q)$(CXX) $(BENCH_CXXFLAGS) -MF $@.d -o $@ $< $(BUILD)/libashlar-core.a

## bench-slices: slices against std::vector and boost on several allocators, 10 minutes (GROWTH='--sizes 1e7' and more)
.PHONY: bench-slices
bench-slices: $(BUILD)/bench/slices $(BUILD)/bench/slice_waste $(BUILD)/bench/shared_slices $(BUILD)/libashlar.so
	@BUILD='$(abspath $(BUILD))' bench/growth $(GROWTH)

$(BUILD)/bench/startup: bench/startup.c | $(BUILD)/bench
	@echo "  BENCH    $@"
	$(Q)$(CC) $(BENCH_CFLAGS) -MF $@.d -o $@ $<

$(BUILD)/bench/launch: bench/launch.c | $(BUILD)/bench
	@echo "  BENCH    $@"
	$(Q)$(CC) $(BENCH_CFLAGS) -MF $@.d -static -o $@ $<

$(BUILD)/bench/libempty.so: bench/empty.c | $(BUILD)/bench
	@echo "  BENCH    $@"
	$(Q)$(CC) $(BENCH_CFLAGS) -MF $@.d -fPIC -shared -o $@ $<

$(BUILD)/bench/obj/%.o: bench/%.cc | deps
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)$(CXX) $(BENCH_CXXFLAGS) -c -o $@ $<

$(BUILD)/bench/micro: $(BENCH_MICRO) $(BUILD)/bench/startup
	@echo "  LINK     $@"
	$(Q)$(CXX) -pthread -o $@ $(BENCH_MICRO) -lbenchmark

$(BUILD)/bench/place: $(BENCH_PLACE)
	@echo "  LINK     $@"
	$(Q)$(CXX) -o $@ $^ -lhwloc

$(BUILD)/bench:
	@mkdir -p $@

# Libraries that are worse by a known amount (bench/planted/planted.h): name, percent of time, percent of memory.
define planted_rules
$(BUILD)/obj/planted-$(1)/%.o: %.cc bench/planted/planted.h $(BUILD)/obj/release/flags
	@mkdir -p $$(@D); echo "  PLANTED  $$@"
	$(Q)$(cxx_release) $(core_flags) $$(call file_flags,$$<) $(opt_release) -DPLANTED_SLOW_PERCENT=$(2) \
	  -DPLANTED_FAT_PERCENT=$(3) -include bench/planted/planted.h -MMD -MP -c -o $$@ $$<

$(BUILD)/bench/planted-$(1).so: $(patsubst %.cc,$(BUILD)/obj/planted-$(1)/%.o,$(cxx_src) $(libc_src)) $(call objs_release,$(embed_src))
	@mkdir -p $$(@D); echo "  LINK     $$@"
	$(Q)$(cc_release) $(so_flags) $(opt_release) -o $$@ $$^
endef
$(eval $(call planted_rules,control,0,0))
$(eval $(call planted_rules,slow,5,0))
$(eval $(call planted_rules,slower,40,0))
$(eval $(call planted_rules,fat,0,10))

-include $(BENCH_PROGRAMS:%=%.d) $(wildcard $(BUILD)/bench/*slice*.d)
