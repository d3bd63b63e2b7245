// SPDX-License-Identifier: MIT
//
// registry.cc - see registry.h. Lines are built and written without allocation (base/print.h).
#include "chan/registry.h"

#include "alloc/base/print.h"
#include "alloc/options.h"
#include "alloc/os/modules.h"
#include "chan/chan.h"

namespace ashlar::chan_core {
namespace {

constinit WaitLock<System> list_lock;
constinit SystemChannel* first = nullptr;
constinit uint64_t count = 0;
constinit uint32_t list_epoch = 0;  // channels of earlier forks are not on the list

// Where threads wait that have no channel: no operation ever becomes ready there. kRing, empty and full.
constinit SystemChannel nil_empty;
constinit SystemChannel nil_full;

void lock_list() noexcept {
  if (list_lock.lock() == WaitLock<System>::kBroken) {
    // A thread that did not survive the fork was changing the list.
    first = nullptr;
    list_epoch = System::epoch();
  }
}

const char* name_of(Flavour flavour) noexcept {
  switch (flavour) {
    case Flavour::kRing:
      return "ring";
    case Flavour::kZero:
      return "zero-size";
    case Flavour::kRendezvous:
      break;
  }
  return "rendezvous";
}

void add_place(LineWriter& line, const void* code) noexcept {
  const auto address = reinterpret_cast<uintptr_t>(code);
  os::Module module{};
  os::find_modules(&address, 1, &module);
  if (module.base == 0) {
    line.pointer(code);
  } else {
    line.text(module.name).text("+").hex(address - module.base);
  }
}

void add_sizes(LineWriter& line, const SystemChannel& c) noexcept {
  line.text(" ").text(name_of(c.flavour)).text(", element ").dec(c.element_size).text(" bytes, cap ").dec(c.capacity);
}

void dump_threads(SystemChannel& c, Side side, int fd, uint64_t now) noexcept {
  static constexpr const char* kDoing[] = {"send", "recv", "select"};
  for (const Waiter<System>* w = c.queue(side).head; w != nullptr; w = w->next) {
    const Ticket<System>& ticket = *w->ticket;
    LineWriter line("ashlar:   thread ");
    line.dec(ticket.thread_id).text(" parked in ").text(kDoing[static_cast<int>(ticket.what)]);
    if (ticket.what == Waits::kSelect)
      line.text(" (case ").dec(w->index).text(side == Side::kSender ? ", a send)" : ", a recv)");
    line.text(" for ").fixed((now - ticket.since_ns) / 1'000'000, 3).text(" s, from ");
    add_place(line, ticket.caller);
    line.flush(fd);
  }
}

void dump_queues(SystemChannel& c, int fd) noexcept {
  lock_queues(c);
  const uint64_t now = System::now_ns();
  dump_threads(c, Side::kReceiver, fd, now);
  dump_threads(c, Side::kSender, fd, now);
  c.lock.unlock();
}

bool has_waiters(const SystemChannel& c) noexcept {
  return (c.waits.load(std::memory_order_relaxed) & kQueueBits) != 0;  // a look
}

}  // namespace

void enlist(SystemChannel& c) noexcept {
  lock_list();
  c.epoch = System::epoch();
  c.id = ++count;
  c.prev = nullptr;
  c.next = first;
  if (first != nullptr) first->prev = &c;
  first = &c;
  list_lock.unlock();
}

void delist(SystemChannel& c) noexcept {
  lock_list();
  if (c.epoch >= list_epoch) {
    (c.prev != nullptr ? c.prev->next : first) = c.next;
    if (c.next != nullptr) c.next->prev = c.prev;
  }
  list_lock.unlock();
}

void wait_for_nothing(Waits what, uint64_t deadline_ns, const void* caller) noexcept {
  System::prepare();
  // One lap ahead (index_bits is 0) and never moved: full. Relaxed: the same value by everybody.
  nil_full.send.store(1, std::memory_order_relaxed);
  OneWait<System> wait;
  for (Parked parked = Parked::kRetry; parked != Parked::kTimeout;) {
    parked = what == Waits::kSend ? park<System, true>(nil_full, wait, nullptr, deadline_ns, caller, what)
                                  : park<System, false>(nil_empty, wait, nullptr, deadline_ns, caller, what);
  }
}

void trace_newchan(const SystemChannel& c) noexcept {
  if (!options.chantrace) return;
  LineWriter line("ashlar: newchan ");
  line.pointer(&c);
  add_sizes(line, c);
  line.text(", header ").dec(sizeof c).text(" bytes, buffer ").dec(c.element_size * c.capacity).text(" bytes, from ");
  add_place(line, c.maker);
  line.flush(kStderr);
}

void trace_close(SystemChannel& c, const void* caller) noexcept {
  if (!options.chantrace) return;
  LineWriter line("ashlar: close ");
  line.pointer(&c);
  add_sizes(line, c);
  line.text(", len ").dec(length(c)).text(", from ");
  add_place(line, caller);
  line.flush(kStderr);
}

void trace_refusal(const char* why, const void* caller) noexcept {
  if (!options.chantrace) return;
  LineWriter line("ashlar: newchan: ");
  line.text(why).text(", from ");
  add_place(line, caller);
  line.flush(kStderr);
}

}  // namespace ashlar::chan_core

using namespace ashlar::chan_core;

void ashlar_chan_dump(int fd) noexcept {
  lock_list();
  for (SystemChannel* c = first; c != nullptr; c = c->next) {
    ashlar::LineWriter line("ashlar: chan ");
    line.pointer(c);
    add_sizes(line, *c);
    line.text(", len ").dec(length(*c));
    line.text((c->send.load(std::memory_order_relaxed) & kClosedBit) != 0 ? ", closed" : ", open").text(", made at ");
    add_place(line, c->maker);
    line.flush(fd);
    dump_queues(*c, fd);
  }
  if (has_waiters(nil_empty) || has_waiters(nil_full)) {
    ashlar::LineWriter("ashlar: chan null").flush(fd);
    dump_queues(nil_empty, fd);
    dump_queues(nil_full, fd);
  }
  list_lock.unlock();
}
