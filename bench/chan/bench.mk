# SPDX-License-Identifier: MIT
#
# bench.mk - builds bench/chan; included by the Makefile. Owns the target bench-chan and $(BUILD)/bench/chan.
chan_bench := $(BUILD)/bench/chan
.PHONY: bench-chan

## bench-chan: channels beside Go's, crossbeam's and bare queues (CHAN='--rounds 5 --only "cap 0"'); installs them
bench-chan: $(chan_bench)/ours $(chan_bench)/others $(chan_bench)/peer_go
	@BUILD='$(BUILD)' bench/chan/run $(CHAN)

# What test/bench/chan_run_test.py runs; peers are not installed for it.
test: $(chan_bench)/ours

$(chan_bench)/ours: bench/chan/ours.cc bench/chan/scenarios.h chan/chan.hpp chan/chan.h $(BUILD)/libashlar-core.a
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)$(CXX) $(filter-out -MMD -MP,$(BENCH_CXXFLAGS)) -o $@ $< $(BUILD)/libashlar-core.a

$(chan_bench)/others: bench/chan/others.cc bench/chan/scenarios.h | deps
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)$(CXX) $(filter-out -MMD -MP,$(BENCH_CXXFLAGS)) -o $@ $< -ltbb

$(chan_bench)/peer_go: bench/chan/build-peers bench/chan/peer.go bench/chan/crossbeam/main.rs | deps
	@mkdir -p $(@D); echo "  BENCH    $@"
	$(Q)bench/chan/build-peers '$(abspath $(chan_bench))'
	$(Q)touch $@
