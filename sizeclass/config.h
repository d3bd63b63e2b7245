// SPDX-License-Identifier: MIT
//
// config.h - every number that shapes the size classes, in one place.
//
// Owns: the constants. sizeclass.h derives the tables from them and proves them with static_assert.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace ashlar {

/// log2 of the alignment of every block, in bytes (16: what the x86-64 and AArch64 ABIs ask of malloc).
inline constexpr unsigned kMinAlignLog2 = 4;
inline constexpr size_t kMinAlign = size_t{1} << kMinAlignLog2;

/// log2 of the page heap's unit, in bytes (8 KiB, as in Go). The kernel's unit is always called "OS page".
inline constexpr unsigned kPageLog2 = 13;
inline constexpr size_t kPageBytes = size_t{1} << kPageLog2;

/// Largest size, in bytes, that comes from a size class; above it a block is a run of pages.
inline constexpr size_t kMaxSmallBytes = 32768;

/// Sizes up to this come by one table look-up in the fast path; above it the class is computed.
inline constexpr size_t kTableMaxBytes = 1024;

/// Classes per doubling above 128 bytes. 8 bounds internal waste at 1/9, below the 12.5 % we promise.
inline constexpr unsigned kStepsPerDoublingLog2 = 3;

/// Objects a span may have: its free bitmap is 8 words.
inline constexpr size_t kMaxSpanObjects = 512;

/// Bytes of free objects that one P may cache per class, bounded by the slot counts below.
inline constexpr size_t kCacheBytesPerClass = 8192;
inline constexpr size_t kMaxCacheSlots = 128;
inline constexpr size_t kMinCacheSlots = 2;

/// Objects that one refill or flush moves, at most: bounds the time under a central list's lock.
inline constexpr size_t kMaxBatch = 128;

/// Classes below one cache line: where two objects of a line could go to two Ps (passive false sharing).
inline constexpr size_t kLineBytes = 64;
inline constexpr unsigned kSubLineClasses = 3;

/// Groups of Ps that own sub-line spans; a P belongs to group (P mod kHomeGroups). 16 keeps a bin within a byte.
inline constexpr unsigned kHomeGroups = 16;

/// What ashlar_malloc_padded aligns to: x86-64 prefetches lines in pairs; some AArch64 lines have 128 bytes.
inline constexpr size_t kPaddedAlign = 128;

}  // namespace ashlar
