// SPDX-License-Identifier: MIT
//
// chan_example_cxx.cc - channels from C++: a pipeline of move-only elements, ends, range-for, select. With an argument
// it ends in a deadlock instead, and shows how the dump finds it. test/chan/examples.sh runs it.
#include <stdio.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "chan/chan.hpp"
#include "test/programs/check.h"

using namespace std::chrono_literals;
using Text = std::unique_ptr<std::string>;

namespace {

void shout(const ashlar::receiver<Text>& in, const ashlar::sender<Text>& out) {
  for (Text& text : in) {  // until closed and drained
    *text += "!";
    out.send(std::move(text));
  }
  out.close();
}

int pipeline() {
  ashlar::chan<Text> words(4);
  ashlar::chan<Text> loud(0);
  std::thread worker([=] { shout(words, loud); });
  std::thread source([=] {
    for (int i = 0; i < 100; ++i) words.send(std::make_unique<std::string>(std::to_string(i)));
    words.close();
  });
  int got = 0;
  bool is_open = true;
  while (is_open) {
    ashlar::select(ashlar::on_recv(loud,
                                   [&](std::optional<Text> text) {
                                     if (text) {
                                       CHECK(**text == std::to_string(got++) + "!");
                                     } else {
                                       is_open = false;
                                     }
                                   }),
                   ashlar::on_deadline(60s, [] { CHECK(!"late"); }));
  }
  worker.join();
  source.join();
  CHECK(got == 100);
  printf("%d words\n", got);
  return 0;
}

// Each waits for the other to speak first.
[[noreturn]] void deadlock() {
  ashlar::chan<int> there(0), back(0);
  std::thread a([=] {
    there.recv();
    back.send(1);
  });
  std::thread b([=] {
    const int question = 1;
    int answer = *back.recv();
    there.send(question + answer);
  });
  std::this_thread::sleep_for(100ms);
  ashlar_chan_dump(STDOUT_FILENO);
  _exit(0);
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) deadlock();
  return pipeline();
}
