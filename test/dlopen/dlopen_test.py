#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""dlopen_test.py - the library loaded into a running process, beside libc's malloc.

Allocators with much static TLS cannot be loaded so (jemalloc#937, mimalloc#147). Here threads already run when it comes,
and the process keeps libc's malloc: only the `ashlar_` names are used.
"""
import ctypes
import os
import random
import sys
import threading

LIBRARY = os.path.join(os.environ["BUILD"], "libashlar.so")
MODES = {"default": "percpu:on", "fallback": "percpu:off"}
THREADS = 6


def load():
    library = ctypes.CDLL(LIBRARY)
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    for name, result, arguments in [
            ("ashlar_malloc", pointer, [size]), ("ashlar_free", None, [pointer]),
            ("ashlar_calloc", pointer, [size, size]), ("ashlar_realloc", pointer, [pointer, size]),
            ("ashlar_aligned_alloc", pointer, [size, size]), ("ashlar_usable_size", size, [pointer]),
            ("ashlar_good_size", size, [size]), ("ashlar_version", ctypes.c_int, []),
            ("ashlar_purge", size, [size])]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def require(condition, what):
    if not condition:
        raise AssertionError(what)


def churn(library, seed):
    rng = random.Random(seed)
    live = []
    for step in range(3000):
        size = rng.choice([0, 1, 24, 100, 1000, 9000, 40000, 300000])
        block = library.ashlar_malloc(size) if step % 2 else library.ashlar_calloc(1, size)
        require(block and block % 16 == 0, f"block {block} for {size}")
        require(library.ashlar_usable_size(block) == library.ashlar_good_size(size), "usable size")
        byte = rng.randrange(256)
        ctypes.memset(block, byte, size)
        live.append((block, size, byte))
        if len(live) > 50:
            block, size, byte = live.pop(rng.randrange(len(live)))
            require(ctypes.string_at(block, size) == bytes([byte]) * size, "contents")
            library.ashlar_free(block)
    for block, size, byte in live:
        block = library.ashlar_realloc(block, size + 5000)
        require(ctypes.string_at(block, size) == bytes([byte]) * size, "contents after realloc")
        library.ashlar_free(block)


def in_child():
    """What one process does; prints a line per result."""
    loaded, stop = threading.Event(), threading.Event()
    box, errors = {}, []

    def work(number):
        try:
            loaded.wait()
            churn(box["library"], number)
        except BaseException as error:  # pylint: disable=broad-except
            errors.append(repr(error))
        finally:
            stop.wait()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    try:
        box["library"] = library = load()
    finally:
        loaded.set()
        stop.set()
    for thread in threads:
        thread.join()
    require(not errors, errors)
    print("threads older than the library")
    churn(library, 99)
    late = threading.Thread(target=churn, args=(library, 100))
    late.start()
    late.join()
    print("threads younger than the library")
    mine = library.ashlar_malloc(1000)
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    with open("/proc/self/maps", encoding="ascii") as maps:
        library_ranges = [line.split()[0] for line in maps if line.rstrip().endswith("/libashlar.so")]
    address = ctypes.cast(libc.malloc, ctypes.c_void_p).value
    require(library_ranges, "the library is not mapped")
    require(not any(int(r.split("-")[0], 16) <= address < int(r.split("-")[1], 16) for r in library_ranges),
            "malloc became the library's")
    print("libc's malloc stays libc's")
    pid = os.fork()
    if pid == 0:
        churn(library, 101)
        library.ashlar_free(mine)
        os._exit(0)
    require(os.waitpid(pid, 0)[1] == 0, "the child failed")
    print("usable in the child of a fork")
    library.ashlar_free(mine)
    library.ashlar_purge(0)
    require(library.ashlar_version() >= 100, "version")
    # dlclose must leave it mapped: threads may still run in it.
    ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))
    churn(library, 102)
    print("survives a dlclose")


EXPECTED = ["threads older than the library", "threads younger than the library", "libc's malloc stays libc's",
            "usable in the child of a fork", "survives a dlclose"]


def main():
    import subprocess
    failed = False
    for mode, conf in MODES.items():
        env = dict(os.environ, ASHLAR_CONF=conf)
        env.pop("LD_PRELOAD", None)
        result = subprocess.run([sys.executable, __file__, "child"], env=env, capture_output=True, text=True,
                                timeout=120, check=False)
        said = result.stdout.splitlines()
        for case in EXPECTED:
            good = case in said
            failed |= not good
            print(f"{'ok' if good else 'not ok'} {case}, {mode}")
        clean = result.returncode == 0 and not result.stderr
        failed |= not clean
        print(f"{'ok' if clean else 'not ok'} exits cleanly, {mode}")
        if not clean:
            print(f"# status {result.returncode}\n# " + "\n# ".join(result.stderr.splitlines()[-15:]))
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        in_child()
        sys.exit(0)
    sys.exit(main())
