# SPDX-License-Identifier: MIT
#
# bench.mk - builds the benchmark programs; included by the Makefile, whose variables it uses.
#
# Owns the target bench-programs and $(BUILD)/bench. The programs know nothing of Ashlar: the allocator comes by LD_PRELOAD at run time.
BENCH_CXXFLAGS = -std=c++20 -O2 -g -pthread -Wall -Wextra -Wshadow -I. -MMD -MP
BENCH_CFLAGS = -std=gnu11 -O2 -g -Wall -Wextra -Wshadow -MMD -MP

BENCH_CC := server producer_consumer batches large_blocks object_graph realloc_growth pairs
BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,$(BENCH_CC) startup launch libempty.so)

.PHONY: bench-programs
bench-programs: $(BENCH_PROGRAMS)

# test/golden/instructions_test.sh counts its instructions.
test: $(BUILD)/bench/pairs

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

$(BUILD)/bench:
	@mkdir -p $@

# The map beside others (bench/hash/README.md). PEERS: where headers of further ones are, as flags.
PEERS ?=
BENCH_HASH := $(addprefix $(BUILD)/bench/hash/,cells growth)
.PHONY: bench-hash
bench-hash: $(BENCH_HASH)
$(BENCH_HASH): $(BUILD)/bench/hash/%: bench/hash/%.cc $(BUILD)/libashlar-core.a | deps
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)$(CXX) $(BENCH_CXXFLAGS) -DNDEBUG -mcx16 -MF $@.d $(PEERS) -o $@ $< $(BUILD)/libashlar-core.a -ltbb

-include $(BENCH_PROGRAMS:%=%.d) $(BENCH_HASH:%=%.d) $(wildcard $(BUILD)/bench/*slice*.d)
