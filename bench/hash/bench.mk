# SPDX-License-Identifier: MIT
#
# bench.mk - builds bench/hash; included by the Makefile. Owns the target bench-hash, $(BUILD)/bench/hash, and
# $(BUILD)/bench/hash-own: the same programs without the other maps, which test/bench runs.
hash_bench := $(BUILD)/bench/hash
hash_names := streams cells mixes growth tiny padding
hash_programs := $(addprefix $(hash_bench)/,$(hash_names))
hash_own := $(addprefix $(BUILD)/bench/hash-own/,$(hash_names))
# Where headers of boost::concurrent_flat_map and ParlayHash are, as flags (bench/hash/README.md).
PEERS ?=

# With six maps in one unit g++ 12 hits its limit of growth, and leaves calls of three instructions in some of the maps
# (Ashlar's pins, boost's unlocking). In a program, which has one map, it does not.
hash_flags := $(BENCH_CXXFLAGS) -DNDEBUG -mcx16 $(if $(findstring clang,$(CXX)),,--param large-unit-insns=10000000)

## bench-hash: the map beside others, in slices (HASH='--only cells --keys 10000 --rounds 3'); installs them
.PHONY: bench-hash bench-hash-programs
bench-hash: bench-hash-programs
	@BUILD='$(abspath $(BUILD))' bench/hash/run $(HASH)

bench-hash-programs: $(hash_programs) $(hash_bench)/peer_go

$(hash_bench)/flags: FORCE | deps
	@mkdir -p $(@D); echo '$(CXX) $(hash_flags) $(PEERS)' >$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(hash_programs): $(hash_bench)/%: bench/hash/%.cc $(hash_bench)/flags $(BUILD)/libashlar-core.a | deps
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)$(CXX) $(hash_flags) -MF $@.d $(PEERS) -o $@ $< $(BUILD)/libashlar-core.a -ltbb

$(hash_own): $(BUILD)/bench/hash-own/%: bench/hash/%.cc bench/hash/bench.mk $(BUILD)/libashlar-core.a | deps
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)$(CXX) $(hash_flags) -DBENCH_PEERS=0 -MF $@.d -o $@ $< $(BUILD)/libashlar-core.a

$(hash_bench)/peer_go: $(wildcard bench/hash/peer/*.go) | deps
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)GO111MODULE=off GOCACHE='$(abspath $(hash_bench))/gocache' go build -o $@ $^

test: $(hash_own)

-include $(hash_programs:%=%.d) $(hash_own:%=%.d)
