// SPDX-License-Identifier: MIT
//
// main.rs - the scenarios of bench/chan on crossbeam-channel (Debian: librust-crossbeam-channel-dev).
//
// Owns: nothing of Ashlar. `peer_crossbeam SCENARIO CAP SENDERS RECEIVERS MESSAGES` prints nanoseconds a message.
use crossbeam_channel::{bounded, select, Receiver, Sender};
use std::thread;
use std::time::Instant;

fn sink<T>(_: T) {}

fn share(n: usize, parts: usize, i: usize) -> usize {
    n / parts + usize::from(i < n % parts)
}

fn shape<T: Copy + Send>(value: T, capacity: usize, senders: usize, receivers: usize, n: usize) {
    let (s, r) = bounded::<T>(capacity);
    let (s, r) = (&s, &r);
    thread::scope(|scope| {
        for i in 0..senders {
            scope.spawn(move || (0..share(n, senders, i)).for_each(|_| s.send(value).unwrap()));
        }
        for i in 0..receivers {
            scope.spawn(move || (0..share(n, receivers, i)).for_each(|_| sink(r.recv().unwrap())));
        }
    });
}

/// As Go's benchmarks: a hundred rounds.
fn work() -> usize {
    (0..100).fold(0usize, |x, _| std::hint::black_box(x.wrapping_mul(2).wrapping_add(1))) & 1
}

fn four(capacity: usize) -> (Vec<Sender<usize>>, Vec<Receiver<usize>>) {
    (0..4).map(|_| bounded(capacity)).unzip()
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize| args[i].parse::<usize>().unwrap();
    let (capacity, senders, receivers, n) = (number(2), number(3), number(4), number(5));
    let mut begin = Instant::now();
    match args[1].as_str() {
        "shape" => shape(1usize, capacity, senders, receivers, n),
        "zero" => shape((), capacity, senders, receivers, n),
        "seq" => {
            let (s, r) = bounded(n);
            (0..n).for_each(|i| s.send(i).unwrap());
            (0..n).for_each(|_| sink(r.recv().unwrap()));
        }
        "uncontended" => {
            let (s, r) = bounded(capacity);
            begin = Instant::now();
            for i in 0..n {
                s.send(i).unwrap();
                r.recv().unwrap();
            }
        }
        "zero_uncontended" => {
            let (s, r) = bounded(capacity);
            for _ in 0..n {
                s.send(()).unwrap();
                r.recv().unwrap();
            }
        }
        "miss" => {
            let (_s, r) = bounded::<usize>(capacity);
            (0..n).for_each(|_| assert!(r.try_recv().is_err()));
        }
        "create" => (0..n).for_each(|_| sink(std::hint::black_box(bounded::<usize>(capacity)))),
        "pingpong" => {
            let (s1, r1) = bounded(capacity);
            let (s2, r2) = bounded(capacity);
            let (r1, s2) = (&r1, &s2);
            thread::scope(|scope| {
                scope.spawn(move || (0..n).for_each(|_| s2.send(r1.recv().unwrap()).unwrap()));
                for i in 0..n {
                    s1.send(i).unwrap();
                    r2.recv().unwrap();
                }
            });
        }
        "select_rx" => {
            let (s, r) = four(capacity);
            let (s, r) = (&s, &r);
            thread::scope(|scope| {
                for i in 0..4 {
                    scope.spawn(move || (0..share(n, 4, i)).for_each(|j| s[i].send(j).unwrap()));
                }
                for _ in 0..n {
                    select! {
                        recv(r[0]) -> m => sink(m.unwrap()),
                        recv(r[1]) -> m => sink(m.unwrap()),
                        recv(r[2]) -> m => sink(m.unwrap()),
                        recv(r[3]) -> m => sink(m.unwrap()),
                    }
                }
            });
        }
        "select_both" => {
            let (s, r) = four(capacity);
            let (s, r) = (&s, &r);
            thread::scope(|scope| {
                for i in 0..4 {
                    scope.spawn(move || {
                        for j in 0..share(n, 4, i) {
                            select! {
                                send(s[0], j) -> m => m.unwrap(),
                                send(s[1], j) -> m => m.unwrap(),
                                send(s[2], j) -> m => m.unwrap(),
                                send(s[3], j) -> m => m.unwrap(),
                            }
                        }
                    });
                    scope.spawn(move || {
                        for _ in 0..share(n, 4, i) {
                            select! {
                                recv(r[0]) -> m => sink(m.unwrap()),
                                recv(r[1]) -> m => sink(m.unwrap()),
                                recv(r[2]) -> m => sink(m.unwrap()),
                                recv(r[3]) -> m => sink(m.unwrap()),
                            }
                        }
                    });
                }
            });
        }
        "semaphore" => {
            let (s, r) = bounded(capacity);
            let (s, r) = (&s, &r);
            thread::scope(|scope| {
                for i in 0..senders {
                    scope.spawn(move || {
                        for _ in 0..share(n, senders, i) {
                            s.send(()).unwrap();
                            r.recv().unwrap();
                        }
                    });
                }
            });
        }
        "popular" => {
            let (_s, shared) = bounded::<bool>(0);
            let (own, ends): (Vec<Sender<bool>>, Vec<Receiver<bool>>) = (0..senders).map(|_| bounded(0)).unzip();
            let (shared, rounds) = (&shared, n / senders);
            thread::scope(|scope| {
                for mine in &ends {
                    scope.spawn(move || {
                        for _ in 0..rounds {
                            select! {
                                recv(shared) -> m => sink(m),
                                recv(mine) -> m => sink(m.unwrap()),
                            }
                        }
                    });
                }
                for _ in 0..rounds {
                    own.iter().for_each(|c| c.send(true).unwrap());
                }
            });
        }
        "contended" => {
            let (s, r) = bounded(capacity);
            let (s, r) = (&s, &r);
            thread::scope(|scope| {
                for i in 0..senders {
                    scope.spawn(move || {
                        let mut k = share(n, senders, i);
                        while k > 0 {
                            let batch = k.min(100);
                            (0..batch).for_each(|j| s.send(j).unwrap());
                            (0..batch).for_each(|_| sink(r.recv().unwrap()));
                            k -= batch;
                        }
                    });
                }
            });
        }
        "sync" => {
            let (s, r) = bounded(capacity);
            let (s, r) = (&s, &r);
            thread::scope(|scope| {
                scope.spawn(move || {
                    for i in 0..n / 2 {
                        r.recv().unwrap();
                        s.send(i).unwrap();
                    }
                });
                for i in 0..n / 2 {
                    s.send(i).unwrap();
                    r.recv().unwrap();
                }
            });
        }
        "prodcons" => {
            let (s, r) = bounded(capacity);
            let (s, r) = (&s, &r);
            thread::scope(|scope| {
                for i in 0..senders {
                    scope.spawn(move || (0..share(n, senders, i)).for_each(|_| s.send(work()).unwrap()));
                    scope.spawn(move || {
                        for _ in 0..share(n, senders, i) {
                            r.recv().unwrap();
                            work();
                        }
                    });
                }
            });
        }
        "parked" => {
            let (s, r) = bounded::<Instant>(capacity);
            let (answer, latency) = bounded(1);
            let mut sum = 0;
            thread::scope(|scope| {
                scope.spawn(move || {
                    for _ in 0..n {
                        let sent = r.recv().unwrap();
                        answer.send(sent.elapsed().as_nanos()).unwrap();
                    }
                });
                for _ in 0..n {
                    thread::sleep(std::time::Duration::from_millis(2));
                    s.send(Instant::now()).unwrap();
                    sum += latency.recv().unwrap();
                }
            });
            println!("{:.3}", sum as f64 / n as f64);
            return;
        }
        "idle" => {
            let (_s, empty) = bounded::<usize>(capacity);
            let (full, _r) = bounded::<usize>(capacity);
            (0..capacity).for_each(|i| full.send(i).unwrap());
            for _ in 0..receivers {
                let empty = empty.clone();
                thread::spawn(move || empty.recv());
            }
            for i in 0..senders {
                let full = full.clone();
                thread::spawn(move || full.send(i));
            }
            thread::sleep(std::time::Duration::from_secs(2));
            println!("0");
            std::process::exit(0);
        }
        _ => std::process::exit(2),
    }
    println!("{:.3}", begin.elapsed().as_nanos() as f64 / n as f64);
}
