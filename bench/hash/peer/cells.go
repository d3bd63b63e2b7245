// SPDX-License-Identifier: MIT
//
// cells.go - cells.cc on sync.Map.
package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type counts struct {
	done, finds, hits, sum, inserted, erased uint64
	_                                        [64]byte
}

func (c *counts) step(m *sync.Map, key any, at int, op uint64) {
	switch op {
	case 0:
		c.finds++
		if v, ok := m.Load(key); ok {
			c.hits++
			c.sum += v.(uint64)
		}
	case 1:
		c.inserted += insert(m, key, 2*uint64(at)+1)
	default:
		c.erased += erase(m, key)
	}
}

func opOf(i, updates int) uint64 {
	dice := scramble(uint64(i)+0x1234567) % 200
	if dice < uint64(updates) {
		return 1
	} else if dice < 2*uint64(updates) {
		return 2
	}
	return 0
}

func cells() {
	keys, ms := number("keys", 10000), number("ms", 100)
	asText := text("type", "int") == "string"
	var m *sync.Map
	fill := func() {
		m = &sync.Map{}
		for i := uint64(0); i < 2*keys; i += 2 {
			if asText {
				insert(m, textOf(keyOf(i)), 2*i+1)
			} else {
				insert(m, keyOf(i), 2*i+1)
			}
		}
		if size(m) != keys {
			fail("not every key went in")
		}
	}
	fill()
	dists := strings.Split(text("dist", "uniform,zipf"), ",")
	ids := map[string][]uint64{}
	texts := map[string][]string{}
	for _, dist := range dists {
		for i, id := range stream(dist, 2*keys) {
			ids[dist] = append(ids[dist], keyOf(uint64(id)))
			if asText && i < steps/2 {
				texts[dist] = append(texts[dist], textOf(ids[dist][i]))
			}
		}
	}
	ops := make([]byte, steps)
	setUpdates := func(updates int) {
		for i := range ops {
			ops[i] = byte(opOf(i, updates))
		}
	}
	one := func(c *counts, dist string, i int) {
		if asText {
			j := i & (steps/2 - 1)
			c.step(m, texts[dist][j], i, uint64(ops[j]))
		} else {
			c.step(m, ids[dist][i], i, uint64(ops[i]))
		}
	}
	digest := uint64(0)
	for _, dist := range dists {
		for _, updates := range []int{0, 50} {
			setUpdates(updates)
			c, found := counts{}, uint64(0)
			for i := 0; i < 1<<16; i++ {
				one(&c, dist, i)
			}
			for _, part := range []uint64{c.finds, c.hits, c.sum, c.inserted, c.erased, size(m)} {
				found = scramble(found ^ part)
			}
			digest = scramble(digest ^ found)
		}
	}
	fmt.Printf("{\"digest\": \"%d\"}\n", digest)
	for _, updates := range numbers("updates", "0,10,50") {
		for _, threads := range numbers("threads", "1,2,16") {
			for _, dist := range dists {
				if keys <= 100000 {
					fill()
				}
				setUpdates(updates)
				before := size(m)
				all := make([]counts, threads)
				wall, cpu := together(threads, time.Duration(ms)*time.Millisecond, func(t int, stop *uint32) {
					c := counts{}
					for at := start(t, threads); at == start(t, threads) || atomic.LoadUint32(stop) == 0; {
						for i := 0; i < 64; i++ {
							one(&c, dist, at&(steps-1))
							at++
						}
						c.done += 64
					}
					all[t] = c
				})
				c := counts{}
				for i := range all {
					c.done += all[i].done
					c.finds += all[i].finds
					c.hits += all[i].hits
					c.sum += all[i].sum
					c.inserted += all[i].inserted
					c.erased += all[i].erased
				}
				if before+c.inserted-c.erased != size(m) {
					fail("the size does not fit what was inserted and erased")
				}
				fmt.Printf("{\"keys\": %d, \"dist\": \"%s\", \"updates\": %d, \"threads\": %d, %s, \"finds\": %d, \"hits\": %d, \"sum\": %d}\n",
					keys, dist, updates, threads, speed(c.done, wall, cpu, threads), c.finds, c.hits, c.sum)
			}
		}
	}
}
