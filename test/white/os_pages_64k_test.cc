// SPDX-License-Identifier: MIT
//
// os_pages_64k_test.cc - the whole test of the API on OS pages of 64 KiB; see os_pages.h.
#define TEST_OS_PAGE_BYTES (size_t{64} << 10)
#include "test/white/os_pages.h"
