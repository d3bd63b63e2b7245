/* SPDX-License-Identifier: MIT
 *
 * chan_example.c - channels from C: three workers, a channel of jobs, one of results, one that says stop, and a select
 * with a deadline. test/chan/examples.sh runs it, and README.md shows a part of it.
 */
#include <pthread.h>
#include <stdio.h>

#include "chan/chan.h"
#include "test/programs/check.h"

struct job {
  int number;
  ashlar_chan* reply; /* a channel through a channel */
};

static ashlar_chan* jobs;
static ashlar_chan* results;
static ashlar_chan* stop;

static void* work(void* unused) {
  struct job job;
  while (ashlar_chan_recv(jobs, &job) == ASHLAR_CHAN_OK) {
    const long square = (long)job.number * job.number;
    CHECK(ashlar_chan_send(job.reply, &square) == ASHLAR_CHAN_OK);
  }
  CHECK(ashlar_chan_send(stop, NULL) == ASHLAR_CHAN_OK);
  return unused;
}

int main(void) {
  enum { kWorkers = 3, kJobs = 1000 };
  jobs = ashlar_newchan(sizeof(struct job), _Alignof(struct job), 10);
  results = ashlar_newchan(sizeof(long), _Alignof(long), 0);
  stop = ashlar_newchan(0, 1, kWorkers);
  pthread_t threads[kWorkers];
  for (int i = 0; i < kWorkers; ++i) pthread_create(&threads[i], NULL, work, NULL);

  int sent = 0, got = 0, stopped = 0;
  long sum = 0, result = 0;
  while (stopped < kWorkers) {
    struct job next = {sent, results};
    const ashlar_chan_case cases[] = {
        {sent < kJobs ? jobs : NULL, &next, ASHLAR_CHAN_SEND}, /* null: never ready */
        {results, &result, ASHLAR_CHAN_RECV},
        {stop, NULL, ASHLAR_CHAN_RECV},
    };
    size_t chosen = 9;
    CHECK(ashlar_chan_select_until(cases, 3, &chosen, ashlar_chan_now() + 60000000000u) == ASHLAR_CHAN_OK);
    if (chosen == 0 && ++sent == kJobs) CHECK(ashlar_chan_close(jobs) == ASHLAR_CHAN_OK);
    if (chosen == 1) {
      sum += result;
      ++got;
    }
    if (chosen == 2) ++stopped;
  }
  for (int i = 0; i < kWorkers; ++i) pthread_join(threads[i], NULL);
  CHECK(got == kJobs && sum == 332833500);
  CHECK(ashlar_chan_close(jobs) == ASHLAR_CHAN_INVALID);
  ashlar_chan_unref(jobs);
  ashlar_chan_unref(results);
  ashlar_chan_unref(stop);
  printf("sum %ld\n", sum);
  return 0;
}
