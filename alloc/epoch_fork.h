// SPDX-License-Identifier: MIT
//
// epoch_fork.h - what fork does to epochs; init.cc calls it.
#pragma once

namespace ashlar {

/// In the child: the other threads are gone. Their pins end, and what they had retired becomes ours to free.
void epoch_after_fork_in_child() noexcept;

}  // namespace ashlar
