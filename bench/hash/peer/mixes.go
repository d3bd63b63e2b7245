// SPDX-License-Identifier: MIT
//
// mixes.go - mixes.cc on sync.Map.
package main

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type mix struct {
	name                                 string
	read, insert, remove, update, upsert int
	filled                               bool
}

func (x mix) order() string {
	ops := strings.Repeat("r", x.read) + strings.Repeat("i", x.insert) + strings.Repeat("d", x.remove) +
		strings.Repeat("u", x.update) + strings.Repeat("p", x.upsert)
	order := make([]int, 100)
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(a, b int) bool { return scramble(uint64(order[a])) < scramble(uint64(order[b])) })
	result := ""
	for _, i := range order {
		result += ops[i : i+1]
	}
	return result
}

func ownKey(t int, k uint64) uint64 { return keyOf(uint64(t)<<40 + k) }

func workOff(m *sync.Map, order string, t int, operations, filled, any uint64) (got uint64) {
	next, oldest := filled, uint64(0)
	for i := uint64(0); i < operations; i++ {
		key := ownKey(t, scramble(i)%any)
		switch order[i%100] {
		case 'r':
			if v, ok := m.Load(key); ok {
				got += v.(uint64)
			}
		case 'i':
			got += insert(m, ownKey(t, next), i|1)
			next++
		case 'd':
			if oldest < next {
				got += 3 * erase(m, ownKey(t, oldest))
				oldest++
			}
		case 'u': // two steps: each key has one writer
			if _, ok := m.Load(key); ok {
				m.Store(key, i|1)
				got += 5
			}
		default:
			old := uint64(0)
			if v, ok := m.Load(key); ok {
				old = v.(uint64)
			}
			m.Store(key, old+2)
		}
	}
	return
}

func bustle() {
	capacity := uint64(1) << number("log2", 20)
	for _, threads := range numbers("threads", "1,2,16") {
		for _, x := range []mix{{"read heavy", 98, 1, 1, 0, 0, true}, {"exchange", 10, 40, 40, 10, 0, true},
			{"rapid grow", 5, 80, 5, 10, 0, false}, {"uniform", 20, 20, 20, 20, 20, true}} {
			m := &sync.Map{}
			filled, any := uint64(0), 2*capacity/uint64(threads)
			if x.filled {
				filled = capacity * 3 / 4 / uint64(threads)
			}
			for t := 0; t < threads; t++ {
				for k := uint64(0); k < filled; k++ {
					insert(m, ownKey(t, k), k|1)
				}
			}
			size(m)
			order, operations := x.order(), capacity*3/4/uint64(threads)
			got := make([]uint64, threads)
			wall, cpu := together(threads, 0, func(t int, _ *uint32) { got[t] = workOff(m, order, t, operations, filled, any) })
			digest := size(m)
			for _, g := range got {
				digest = scramble(digest ^ g)
			}
			fmt.Printf("{\"mix\": \"%s\", \"threads\": %d, %s, \"digest\": \"%d\"}\n", x.name, threads,
				speed(operations*uint64(threads), wall, cpu, threads), digest)
		}
	}
}

func ycsbOne(workload byte, m *sync.Map, ranks []uint32, records uint64, threads int) {
	reads := uint64(map[byte]int{'A': 50, 'B': 95, 'C': 100, 'D': 95, 'E': 95, 'F': 50}[workload])
	var missed, additions, inserted, done uint64
	before := sumOf(m)
	wall, cpu := together(threads, time.Duration(number("ms", 100))*time.Millisecond, func(t int, stop *uint32) {
		at, own := start(t, threads), records/uint64(threads)
		var myMissed, myAdditions, myInserted, myDone uint64
		for myDone == 0 || atomic.LoadUint32(stop) == 0 {
			for i := 0; i < 64; i++ {
				rank := uint64(ranks[at&(steps-1)])
				at++
				if workload == 'E' && scramble(uint64(at))%100 < reads {
					for k := scramble(^uint64(at)) % 100; ; k-- {
						_, ok := m.Load(keyOf((rank + k) % records))
						myMissed += one(!ok)
						if k == 0 {
							break
						}
					}
				} else if scramble(uint64(at))%100 < reads {
					id := rank
					if workload == 'D' {
						id = (own-1-rank%own)*uint64(threads) + uint64(t)
					}
					_, ok := m.Load(keyOf(id))
					myMissed += one(!ok)
				} else if workload == 'D' || workload == 'E' {
					myInserted += insert(m, keyOf(own*uint64(threads)+uint64(t)), 1)
					own++
				} else if workload == 'F' {
					v, ok := m.Load(keyOf(rank))
					if !ok {
						fail("a record is not there")
					}
					atomic.AddUint64(v.(*uint64), 1)
					myAdditions++
				} else {
					m.Store(keyOf(rank), uint64(at))
				}
			}
			myDone += 64
		}
		atomic.AddUint64(&missed, myMissed)
		atomic.AddUint64(&additions, myAdditions)
		atomic.AddUint64(&inserted, myInserted)
		atomic.AddUint64(&done, myDone)
	})
	if missed != 0 || size(m) != records+inserted {
		fail("a record was not found")
	}
	if additions != 0 && sumOf(m) != before+additions {
		fail("an addition was lost")
	}
	fmt.Printf("{\"mix\": \"YCSB %c\", \"threads\": %d, %s}\n", workload, threads, speed(done, wall, cpu, threads))
}

func sumOf(m *sync.Map) (sum uint64) {
	m.Range(func(_, v any) bool {
		if p, ok := v.(*uint64); ok {
			sum += *p
		} else {
			sum += v.(uint64)
		}
		return true
	})
	return
}

func ycsb() {
	records := number("keys", 1000000)
	ranks := stream("zipf", records)
	load := func(pointers bool) *sync.Map {
		m := &sync.Map{}
		for i := uint64(0); i < records; i++ {
			if pointers {
				v := uint64(1)
				m.Store(keyOf(i), &v)
			} else {
				m.Store(keyOf(i), uint64(1))
			}
		}
		size(m)
		return m
	}
	m := load(false)
	for round := 0; round < 3; round++ {
		begin := time.Now()
		if sumOf(m) != records {
			fail("a walk does not meet every entry once")
		}
		fmt.Printf("{\"mix\": \"walk\", \"threads\": 1, \"mops\": %.9g}\n", float64(records)/time.Since(begin).Seconds()/1e6)
	}
	words := load(true)
	for _, threads := range numbers("threads", "1,2,16") {
		ycsbOne('A', m, ranks, records, threads)
		ycsbOne('B', m, ranks, records, threads)
		ycsbOne('C', m, ranks, records, threads)
		ycsbOne('F', words, ranks, records, threads)
		ycsbOne('D', load(false), ranks, records, threads)
		ycsbOne('E', load(false), ranks, records, threads)
	}
}
