// SPDX-License-Identifier: MIT
//
// peer.go - the scenarios of bench/chan on Go's own channels.
//
// Owns: nothing of Ashlar. `peer_go SCENARIO CAP SENDERS RECEIVERS MESSAGES` prints nanoseconds a message. With
// PEER_LOCK=1 every goroutine has a thread of its own (runtime.LockOSThread), as Ashlar's waiters have.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

var lock = os.Getenv("PEER_LOCK") == "1"

func start(group *sync.WaitGroup, f func()) {
	group.Add(1)
	go func() {
		if lock {
			runtime.LockOSThread()
		}
		f()
		group.Done()
	}()
}

func share(n, parts, i int) int { return n/parts + btoi(i < n%parts) }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func shape[T any](value T, capacity, senders, receivers, n int) {
	var group sync.WaitGroup
	c := make(chan T, capacity)
	for i := 0; i < senders; i++ {
		k := share(n, senders, i)
		start(&group, func() {
			for ; k > 0; k-- {
				c <- value
			}
		})
	}
	for i := 0; i < receivers; i++ {
		k := share(n, receivers, i)
		start(&group, func() {
			for ; k > 0; k-- {
				<-c
			}
		})
	}
	group.Wait()
}

// As Go's benchmarks: a hundred rounds.
func work() int {
	x := 0
	for i := 0; i < 100; i++ {
		x = x*2 + 1
	}
	return x & 1
}

func makeFour(capacity int) [4]chan int {
	var c [4]chan int
	for i := range c {
		c[i] = make(chan int, capacity)
	}
	return c
}

func main() {
	var a [5]int
	for i := 2; i < 6; i++ {
		a[i-1], _ = strconv.Atoi(os.Args[i])
	}
	capacity, senders, receivers, n := a[1], a[2], a[3], a[4]
	var group sync.WaitGroup
	begin := time.Now()
	switch os.Args[1] {
	case "shape":
		shape(1, capacity, senders, receivers, n)
	case "zero":
		shape(struct{}{}, capacity, senders, receivers, n)
	case "seq":
		c := make(chan int, n)
		for i := 0; i < n; i++ {
			c <- i
		}
		for i := 0; i < n; i++ {
			<-c
		}
	case "uncontended":
		c := make(chan int, capacity)
		begin = time.Now()
		for i := 0; i < n; i++ {
			c <- i
			<-c
		}
	case "zero_uncontended":
		c := make(chan struct{}, capacity)
		for i := 0; i < n; i++ {
			c <- struct{}{}
			<-c
		}
	case "miss":
		c := make(chan int, capacity)
		for i := 0; i < n; i++ {
			select {
			case <-c:
			default:
			}
		}
	case "create":
		for i := 0; i < n; i++ {
			runtime.KeepAlive(make(chan int, capacity))
		}
	case "pingpong":
		there, back := make(chan int, capacity), make(chan int, capacity)
		start(&group, func() {
			for i := 0; i < n; i++ {
				back <- <-there
			}
		})
		for i := 0; i < n; i++ {
			there <- i
			<-back
		}
	case "select_rx":
		c := makeFour(capacity)
		for i := range c {
			k, to := share(n, 4, i), c[i]
			start(&group, func() {
				for ; k > 0; k-- {
					to <- k
				}
			})
		}
		for i := 0; i < n; i++ {
			select {
			case <-c[0]:
			case <-c[1]:
			case <-c[2]:
			case <-c[3]:
			}
		}
	case "select_both":
		c := makeFour(capacity)
		for i := 0; i < 4; i++ {
			k := share(n, 4, i)
			start(&group, func() {
				for j := 0; j < k; j++ {
					select {
					case c[0] <- j:
					case c[1] <- j:
					case c[2] <- j:
					case c[3] <- j:
					}
				}
			})
			start(&group, func() {
				for j := 0; j < k; j++ {
					select {
					case <-c[0]:
					case <-c[1]:
					case <-c[2]:
					case <-c[3]:
					}
				}
			})
		}
	case "semaphore":
		c := make(chan struct{}, capacity)
		for i := 0; i < senders; i++ {
			k := share(n, senders, i)
			start(&group, func() {
				for ; k > 0; k-- {
					c <- struct{}{}
					<-c
				}
			})
		}
	case "popular":
		shared := make(chan bool)
		rounds := n / senders
		var own []chan bool
		for i := 0; i < senders; i++ {
			mine := make(chan bool)
			own = append(own, mine)
			start(&group, func() {
				for k := 0; k < rounds; k++ {
					select {
					case <-shared:
					case <-mine:
					}
				}
			})
		}
		for k := 0; k < rounds; k++ {
			for _, c := range own {
				c <- true
			}
		}
	case "contended":
		c := make(chan int, capacity)
		for i := 0; i < senders; i++ {
			k := share(n, senders, i)
			start(&group, func() {
				for k > 0 {
					batch := k
					if batch > 100 {
						batch = 100
					}
					for j := 0; j < batch; j++ {
						c <- j
					}
					for j := 0; j < batch; j++ {
						<-c
					}
					k -= batch
				}
			})
		}
	case "sync":
		c := make(chan int, capacity)
		start(&group, func() {
			for i := 0; i < n/2; i++ {
				<-c
				c <- i
			}
		})
		for i := 0; i < n/2; i++ {
			c <- i
			<-c
		}
	case "prodcons":
		c := make(chan int, capacity)
		for i := 0; i < senders; i++ {
			k := share(n, senders, i)
			start(&group, func() {
				for j := 0; j < k; j++ {
					c <- work()
				}
			})
			start(&group, func() {
				for j := 0; j < k; j++ {
					<-c
					work()
				}
			})
		}
	case "parked":
		c, answer := make(chan time.Time, capacity), make(chan time.Duration, 1)
		start(&group, func() {
			for i := 0; i < n; i++ {
				sent := <-c
				answer <- time.Since(sent)
			}
		})
		var sum time.Duration
		if lock {
			runtime.LockOSThread()
		}
		for i := 0; i < n; i++ {
			time.Sleep(2 * time.Millisecond)
			c <- time.Now()
			sum += <-answer
		}
		fmt.Printf("%.3f\n", float64(sum.Nanoseconds())/float64(n))
		return
	case "idle":
		empty, full := make(chan int, capacity), make(chan int, capacity)
		for i := 0; i < capacity; i++ {
			full <- i
		}
		for i := 0; i < receivers; i++ {
			start(&group, func() { <-empty })
		}
		for i := 0; i < senders; i++ {
			start(&group, func() { full <- 1 })
		}
		time.Sleep(2 * time.Second)
		fmt.Println(0)
		os.Exit(0)
	default:
		os.Exit(2)
	}
	group.Wait()
	fmt.Printf("%.3f\n", float64(time.Since(begin).Nanoseconds())/float64(n))
}
