// SPDX-License-Identifier: MIT
//
// sizeclass.h - request size -> size class -> object size, span size, cache slots. Pure arithmetic, no state.
//
// The policy: multiples of 16 up to 128, then eight classes per doubling up to kMaxSmallBytes. So a request of n > 128
// bytes wastes less than n/8, the class of a size is a shift and an add, and every power of two is a class.
// A span is the smallest run of pages that holds at least kWantObjects (fewer for big objects) and wastes at most 1/32
// of itself behind the last object, where such a run exists within kMaxSpanPages.
// Source of the idea: Go's mksizeclasses.go states its waste policy and derives the table; ours is computed by the
// compiler.
#pragma once

#include "sizeclass/config.h"

namespace ashlar {

using ClassIndex = unsigned;

inline constexpr unsigned kLinearClasses = 128 / kMinAlign;
inline constexpr unsigned kDoublings = 8;  // 128 -> 32768
inline constexpr unsigned kNumClasses = kLinearClasses + (kDoublings << kStepsPerDoublingLog2);
inline constexpr size_t kMaxSpanPages = 16;

/// floor(log2(x)), x > 0.
constexpr unsigned log2_floor(size_t x) {
  return 63U - static_cast<unsigned>(__builtin_clzl(x));
}

/// The class that serves `size` bytes, 0 <= size <= kMaxSmallBytes.
constexpr ClassIndex class_of_size(size_t size) {
  if (size <= 128) return size == 0 ? 0 : static_cast<unsigned>((size - 1) >> kMinAlignLog2);
  const unsigned magnitude = log2_floor(size - 1);  // 7 for 129..256
  const unsigned shift = magnitude - kStepsPerDoublingLog2;
  const unsigned step = static_cast<unsigned>((size - 1) >> shift) - (1U << kStepsPerDoublingLog2);
  return kLinearClasses + ((magnitude - 7) << kStepsPerDoublingLog2) + step;
}

/// Bytes of an object of class `c`.
constexpr size_t compute_class_bytes(ClassIndex c) {
  if (c < kLinearClasses) return (c + 1) * kMinAlign;
  const unsigned k = c - kLinearClasses;
  const unsigned shift = 7 - kStepsPerDoublingLog2 + (k >> kStepsPerDoublingLog2);
  const size_t step = (k & ((1U << kStepsPerDoublingLog2) - 1)) + 1 + (1U << kStepsPerDoublingLog2);
  return step << shift;
}

/// Fewest objects that we want in a span: amortises a span's set-up, without tying up much memory in big classes.
constexpr size_t wanted_objects(size_t bytes) {
  if (bytes <= 1024) return 16;
  if (bytes <= 4096) return 8;
  return bytes <= 8192 ? 4 : 2;
}

/// Pages of a span of objects of `bytes` bytes.
constexpr size_t compute_span_pages(size_t bytes) {
  size_t best = 0;
  for (size_t pages = 1; pages <= kMaxSpanPages; ++pages) {
    const size_t span = pages * kPageBytes;
    const size_t objects = span / bytes;
    if (objects < wanted_objects(bytes)) continue;
    if (objects > kMaxSpanObjects) break;
    const size_t tail = span - objects * bytes;
    if (best == 0) best = pages;
    if (tail * 32 <= span) return pages;
    if (tail * best * kPageBytes < (best * kPageBytes % bytes) * span) best = pages;
  }
  return best;
}

/// Slots that one P's cache has for objects of `bytes` bytes.
constexpr size_t compute_cache_slots(size_t bytes) {
  const size_t n = kCacheBytesPerClass / bytes;
  if (n > kMaxCacheSlots) return kMaxCacheSlots;
  return n < kMinCacheSlots ? kMinCacheSlots : n;
}

/// Objects that one refill or flush moves: half the slots, so that what follows, malloc or free, finds objects or room.
constexpr size_t batch_of_slots(size_t slots) {
  const size_t half = slots / 2;
  return half < kMaxBatch ? half : kMaxBatch;
}

struct ClassInfo {
  uint32_t bytes;         ///< object size
  uint32_t reciprocal;    ///< ceil(2^32 / bytes): offset / bytes == offset * reciprocal >> 32 within a span
  uint16_t span_pages;    ///< pages of a span
  uint16_t span_objects;  ///< objects in a span
  uint16_t cache_slots;   ///< slots in a P's cache
  uint16_t batch;         ///< objects moved by one refill or flush: half the slots
};

struct ClassTable {
  ClassInfo info[kNumClasses];
};

consteval ClassTable make_class_table() {
  ClassTable t{};
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    const size_t bytes = compute_class_bytes(c);
    const size_t pages = compute_span_pages(bytes);
    const size_t slots = compute_cache_slots(bytes);
    t.info[c] = {static_cast<uint32_t>(bytes), static_cast<uint32_t>(((uint64_t{1} << 32) + bytes - 1) / bytes),
                 static_cast<uint16_t>(pages), static_cast<uint16_t>(pages * kPageBytes / bytes),
                 static_cast<uint16_t>(slots), static_cast<uint16_t>(batch_of_slots(slots))};
  }
  return t;
}

inline constexpr ClassTable kClasses = make_class_table();

constexpr const ClassInfo& class_info(ClassIndex c) {
  return kClasses.info[c];
}
constexpr size_t class_bytes(ClassIndex c) {
  return kClasses.info[c].bytes;
}

/// Index of the object that contains the byte at `offset` of a span of class `c`.
constexpr unsigned object_index(ClassIndex c, size_t offset) {
  return static_cast<unsigned>((offset * kClasses.info[c].reciprocal) >> 32);
}

/// Whether an offset whose product with the class's reciprocal is `product` is the start of an object: the remainder
/// shows in the low half, without a second multiplication. (D. Lemire, O. Kaser, N. Kurz, "Faster remainder by direct
/// computation", 2019.)
constexpr bool is_object_start(uint64_t product, uint32_t reciprocal) {
  return static_cast<uint32_t>(product) < reciprocal;
}

consteval bool classes_are_sound() {
  for (ClassIndex c = 0; c < kNumClasses; ++c) {
    const ClassInfo& i = kClasses.info[c];
    if (i.bytes % kMinAlign != 0 || class_of_size(i.bytes) != c) return false;
    if (c > 0 && (i.bytes <= class_bytes(c - 1) || class_of_size(class_bytes(c - 1) + 1) != c)) return false;
    if (i.span_pages == 0 || i.span_objects < 2 || i.span_objects > kMaxSpanObjects) return false;
    if (i.batch < 1 || i.batch > i.span_objects) return false;
    // Internal waste: the worst request of the class is one byte above the class below.
    if (c >= kLinearClasses && (i.bytes - class_bytes(c - 1) - 1) * 8 > i.bytes) return false;
    // Waste behind the last object of a span.
    const size_t span = i.span_pages * kPageBytes;
    if ((span - i.span_objects * size_t{i.bytes}) * 8 > span) return false;
    // The reciprocal is exact at both edges of every object, and so between them; its low half grows from the first on.
    for (unsigned k = 0; k < i.span_objects; ++k) {
      const size_t first = size_t{k} * i.bytes;
      if (object_index(c, first) != k || object_index(c, first + i.bytes - 1) != k) return false;
      if (!is_object_start(first * i.reciprocal, i.reciprocal)) return false;
      if (is_object_start((first + i.bytes - 1) * i.reciprocal, i.reciprocal)) return false;
    }
  }
  return true;
}

static_assert(kNumClasses == 72);
static_assert(class_bytes(class_of_size(24)) == 32);
static_assert(class_bytes(class_of_size(128)) == 128);
static_assert(class_bytes(class_of_size(257)) == 288);
static_assert(class_bytes(kNumClasses - 1) == kMaxSmallBytes);
static_assert(class_bytes(kSubLineClasses - 1) < kLineBytes && class_bytes(kSubLineClasses) >= kLineBytes);
static_assert(classes_are_sound());

}  // namespace ashlar
