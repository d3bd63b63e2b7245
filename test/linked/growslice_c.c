/* SPDX-License-Identifier: MIT
 *
 * growslice_c.c - slices from C: grow, view, errors. The example of alloc/slice/README.md; test/slice/examples.sh
 * compiles it in several ways and runs it. (Linked with libashlar.a, its malloc is Ashlar's; elsewhere another one.)
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "alloc/ashlar.h"
#include "alloc/slice/growslice.h"
#include "test/programs/check.h"

/* Appends one line to a slice of chars. */
static int append(ashlar_slice_header* s, const char* text) {
  const size_t n = strlen(text);
  const ashlar_slice_header grown = ashlar_growslice(s->data, s->len + n, s->cap, n, 1);
  if (grown.data == NULL) return -1; /* errno says why, and *s is as it was */
  memcpy((char*)grown.data + s->len, text, n);
  *s = grown;
  return 0;
}

int main(void) {
  ashlar_slice_header s = {NULL, 0, 0};
  for (int i = 0; i < 100000; ++i) {
    char line[32];
    snprintf(line, sizeof line, "line %d\n", i);
    CHECK(append(&s, line) == 0);
  }
  CHECK(memcmp(s.data, "line 0\nline 1\n", 14) == 0);
  CHECK(memcmp((char*)s.data + s.len - 11, "line 99999\n", 11) == 0);

  /* A view shares memory that is somebody else's; growing it copies. */
  char theirs[] = "foreign";
  ashlar_slice_header view = ashlar_slice(theirs, 7, 1);
  CHECK(view.data == theirs && view.len == 7 && view.cap == 0);
  CHECK(append(&view, " and copied") == 0);
  CHECK(view.data != theirs && memcmp(view.data, "foreign and copied", 18) == 0);
  CHECK(strcmp(theirs, "foreign") == 0);

  /* Bad input is an error, and nothing is lost. */
  errno = 0;
  CHECK(ashlar_slice(theirs, -1, 1).data == NULL && errno == EINVAL);
  const ashlar_slice_header none = ashlar_growslice(s.data, (size_t)-1, s.cap, (size_t)-1 - s.len, 1);
  CHECK(none.data == NULL && errno == EOVERFLOW);
  CHECK(memcmp(s.data, "line 0\n", 7) == 0);

  printf("%zu bytes\n", s.len);
  ashlar_free(view.data);
  ashlar_free(s.data);
  return 0;
}
