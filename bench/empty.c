/* SPDX-License-Identifier: MIT
 *
 * empty.c - a shared library with nothing in it: what preloading itself costs. bench/startup compares with it.
 */
typedef int bench_empty_library; /* ISO C forbids an empty translation unit */
