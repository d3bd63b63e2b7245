// SPDX-License-Identifier: MIT
//
// main.rs - the scenarios of bench/chan on crossbeam-channel (Debian: librust-crossbeam-channel-dev).
//
// Owns: nothing of Ashlar. `peer_crossbeam SCENARIO CAP SENDERS RECEIVERS MESSAGES` prints nanoseconds a message.
use crossbeam_channel::{bounded, select, Receiver, Sender};
use std::thread;
use std::time::Instant;

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
            scope.spawn(move || (0..share(n, receivers, i)).for_each(|_| drop(r.recv().unwrap())));
        }
    });
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
            (0..n).for_each(|_| drop(r.recv().unwrap()));
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
        "create" => (0..n).for_each(|_| drop(std::hint::black_box(bounded::<usize>(capacity)))),
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
                        recv(r[0]) -> m => drop(m.unwrap()),
                        recv(r[1]) -> m => drop(m.unwrap()),
                        recv(r[2]) -> m => drop(m.unwrap()),
                        recv(r[3]) -> m => drop(m.unwrap()),
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
                                recv(r[0]) -> m => drop(m.unwrap()),
                                recv(r[1]) -> m => drop(m.unwrap()),
                                recv(r[2]) -> m => drop(m.unwrap()),
                                recv(r[3]) -> m => drop(m.unwrap()),
                            }
                        }
                    });
                }
            });
        }
        _ => std::process::exit(2),
    }
    println!("{:.3}", begin.elapsed().as_nanos() as f64 / n as f64);
}
