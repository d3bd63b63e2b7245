// SPDX-License-Identifier: MIT
//
// main.go - the work of cells.cc, mixes.cc, growth.cc and tiny.cc on Go's sync.Map.
//
// Owns: nothing of Ashlar. `peer_go cells|mixes|growth|tiny --name value ...` prints the same lines. What differs:
// keys and values become interfaces, which costs an allocation each, as in any Go program. sync.Map of Go 1.19 has no
// compare-and-swap, so where values are modified they are addresses of words that are added to; it has no size, so
// it is counted; and it cannot be told a size ahead. After a fill it is walked once, which makes it as fast as it gets.
// Before memory is read the collector has run, and has given back what it can.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const steps = 1 << 21

var args = map[string]string{}

func text(name, otherwise string) string {
	if v, ok := args[name]; ok {
		return v
	}
	return otherwise
}
func number(name string, otherwise uint64) uint64 {
	n, err := strconv.ParseUint(text(name, strconv.FormatUint(otherwise, 10)), 10, 64)
	if err != nil {
		fail(err.Error())
	}
	return n
}
func numbers(name, otherwise string) (result []int) {
	for _, word := range strings.Split(text(name, otherwise), ",") {
		n, _ := strconv.Atoi(word)
		result = append(result, n)
	}
	return
}
func fail(what string) {
	fmt.Fprintln(os.Stderr, "bench/hash, peer_go:", what)
	os.Exit(1)
}

// As in harness.h.
func scramble(x uint64) uint64 {
	x = (x + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 29)) * 0x94d049bb133111eb
	return x ^ (x >> 32)
}
func keyOf(id uint64) uint64            { return scramble(id) >> 2 }
func textOf(key uint64) string          { return fmt.Sprintf("user%019d", key) }
func start(t, n int) int                { return steps / n * t }
func share(n uint64, t, all int) uint64 { return (n - uint64(t) + uint64(all) - 1) / uint64(all) }

func stream(dist string, universe uint64) []uint32 {
	path := fmt.Sprintf("%s/%s-%d", text("streams", "."), dist, universe)
	f, err := os.Open(path)
	if err != nil {
		fail(err.Error())
	}
	at, err := syscall.Mmap(int(f.Fd()), 0, steps*4, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		fail(err.Error())
	}
	return unsafe.Slice((*uint32)(unsafe.Pointer(&at[0])), steps)
}

func cpu() float64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// Runs work(t, stop) in n goroutines; after `limit` sets stop. Seconds by the clock, and of CPU.
func together(n int, limit time.Duration, work func(t int, stop *uint32)) (float64, float64) {
	var stop uint32
	var group sync.WaitGroup
	begin, cpuBegin := time.Now(), cpu()
	for t := 0; t < n; t++ {
		t := t
		group.Add(1)
		go func() {
			work(t, &stop)
			group.Done()
		}()
	}
	if limit > 0 {
		time.Sleep(limit)
		atomic.StoreUint32(&stop, 1)
	}
	group.Wait()
	return time.Since(begin).Seconds(), cpu() - cpuBegin
}

func speed(operations uint64, wall, cpu float64, threads int) string {
	if n := runtime.NumCPU(); threads > n {
		threads = n
	}
	return fmt.Sprintf(`"mops": %.9g, "cpu_mops": %.9g`, float64(operations)/wall/1e6,
		float64(operations)/(cpu/float64(threads))/1e6)
}

func size(m *sync.Map) (n uint64) {
	m.Range(func(any, any) bool {
		n++
		return true
	})
	return
}
func insert(m *sync.Map, k any, v uint64) uint64 {
	_, there := m.LoadOrStore(k, v)
	return one(!there)
}
func erase(m *sync.Map, k any) uint64 {
	_, there := m.LoadAndDelete(k)
	return one(there)
}
func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func main() {
	for i := 2; i+1 < len(os.Args); i += 2 {
		args[strings.TrimPrefix(os.Args[i], "--")] = os.Args[i+1]
	}
	switch os.Args[1] {
	case "cells":
		cells()
	case "mixes":
		if text("suite", "bustle") == "ycsb" {
			ycsb()
		} else {
			bustle()
		}
	case "growth":
		growth()
	case "tiny":
		tiny()
	default:
		fail("cells, mixes, growth or tiny")
	}
}
