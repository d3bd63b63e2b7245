// SPDX-License-Identifier: MIT
//
// growth.go - growth.cc and tiny.cc on sync.Map.
package main

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

func resident() float64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		fail(err.Error())
	}
	pages, _ := strconv.ParseFloat(strings.Fields(string(data))[1], 64)
	return pages * float64(os.Getpagesize())
}

func settle() {
	runtime.GC()
	debug.FreeOSMemory()
	time.Sleep(1500 * time.Millisecond)
}

type histogram [64 * 16]uint64

func (h *histogram) add(ns uint64) {
	if ns < 16 {
		h[ns]++
		return
	}
	log := 63 - bits.LeadingZeros64(ns)
	h[(log-3)*16+int(ns>>(log-4)&15)]++
}
func (h *histogram) quantile(q float64) float64 {
	all, seen := uint64(0), uint64(0)
	for _, c := range h {
		all += c
	}
	for i, c := range h {
		if seen += c; float64(seen) >= q*float64(all) {
			if i < 16 {
				return float64(i) / 1e3
			}
			return float64((i&15+17)<<(i/16-1)) / 1e3
		}
	}
	return 0
}

func growth() {
	n, threads, what := number("n", 4000000), int(number("threads", 1)), text("what", "speed")
	before := resident()
	m := &sync.Map{}
	longest := make([]time.Duration, threads)
	slowest := make([]time.Duration, threads)
	histograms := make([]histogram, threads)
	wall, cpu := together(threads, 0, func(t int, _ *uint32) {
		last, inRow, added := time.Now(), 0, uint64(0)
		for i := uint64(t); i < n; i += uint64(threads) {
			if what == "latency" {
				begin := time.Now()
				added += insert(m, keyOf(i), i)
				took := time.Since(begin)
				histograms[t].add(uint64(took))
				if took > slowest[t] {
					slowest[t] = took
				}
			} else {
				added += insert(m, keyOf(i), i)
			}
			if inRow++; inRow == 64 {
				inRow = 0
				now := time.Now()
				if now.Sub(last) > longest[t] {
					longest[t] = now.Sub(last)
				}
				last = now
			}
		}
		if added != share(n, t, threads) {
			fail("an insert of a new key said that it was there")
		}
	})
	for t := 1; t < threads; t++ {
		if longest[t] > longest[0] {
			longest[0] = longest[t]
		}
		if slowest[t] > slowest[0] {
			slowest[0] = slowest[t]
		}
		for i, c := range histograms[t] {
			histograms[0][i] += c
		}
	}
	fmt.Printf("{\"n\": %d, \"threads\": %d, \"reserve\": 0, %s, \"longest_64_ms\": %.9g", n, threads,
		speed(n, wall, cpu, threads), longest[0].Seconds()*1e3)
	first := uint64(0)
	switch what {
	case "latency":
		h := &histograms[0]
		fmt.Printf(", \"p50_us\": %.9g, \"p99_us\": %.9g, \"p999_us\": %.9g, \"p9999_us\": %.9g, \"max_us\": %.9g",
			h.quantile(0.5), h.quantile(0.99), h.quantile(0.999), h.quantile(0.9999), slowest[0].Seconds()*1e6)
	case "memory":
		settle()
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		after, peak := resident()-before, float64(u.Maxrss)*1024-before
		fmt.Printf(", \"bytes\": %.9g, \"peak_bytes\": %.9g, \"peak_ratio\": %.9g", after/float64(n), peak/float64(n), peak/after)
		for i := uint64(0); i < n; i++ {
			if i%10 != 0 {
				m.Delete(keyOf(i))
			}
		}
		settle()
		fmt.Printf(", \"erased_mb\": %.9g", (resident()-before)/1e6)
	case "churn":
		settle()
		full := resident()
		seconds, _ := together(threads, 0, func(t int, _ *uint32) {
			both := uint64(0)
			for i := uint64(t); i < n; i += uint64(threads) {
				both += erase(m, keyOf(i)) + insert(m, keyOf(n+i), n+i)
			}
			if both != 2*share(n, t, threads) {
				fail("churn: a key was lost")
			}
		})
		settle()
		fmt.Printf(", \"churn_mops\": %.9g, \"churn_memory\": %.9g", 2*float64(n)/seconds/1e6, (resident()-before)/(full-before))
		first = n
	}
	fmt.Println("}")
	if what != "memory" {
		for i := first; i < first+n; i++ {
			if v, ok := m.Load(keyOf(i)); !ok || v.(uint64) != i {
				fail("a key is lost")
			}
		}
	}
	runtime.KeepAlive(m)
}

func tiny() {
	n := number("maps", 1000000)
	for _, entries := range numbers("entries", "0,1,4") {
		settle()
		before, begin := resident(), time.Now()
		all := make([]sync.Map, n)
		for i := range all {
			for k := 0; k < entries; k++ {
				all[i].Store(keyOf(uint64(i+k)), uint64(k)+1)
			}
			if entries == 0 {
				all[i].Load(uint64(i)) // touches it, as constructors do
			}
		}
		made := time.Since(begin)
		runtime.GC()
		bytes := (resident() - before) / float64(n)
		sum, begin := uint64(0), time.Now()
		for i := range all {
			for k := 0; k == 0 || k < entries; k++ {
				if v, ok := all[i].Load(keyOf(uint64(i + k))); ok {
					sum += v.(uint64)
				}
			}
		}
		found := time.Since(begin)
		if sum != n*uint64(entries*(entries+1)/2) {
			fail("a tiny map lost an entry")
		}
		fmt.Printf("{\"entries\": %d, \"maps\": %d, \"header\": %d, \"bytes\": %.9g, \"make_ns\": %.9g, \"find_ns\": %.9g}\n",
			entries, n, unsafe.Sizeof(sync.Map{}), bytes, float64(made.Nanoseconds())/float64(n), float64(found.Nanoseconds())/float64(n))
	}
}
