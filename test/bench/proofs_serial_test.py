#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# TIMEOUT: 600
"""proofs_serial_test.py - the quick form of bench/proofs: the same library against itself shows nothing, 40 % of time and 10 %
of memory that are planted are found (5 % of time: make bench-proofs, on a quiet machine). It compares sides that were measured in turns, over three attempts; no time itself is
judged."""
import os
import sys

PROOFS = os.path.join(os.environ["ROOT"], "bench", "proofs")
os.execv(PROOFS, [PROOFS, "quick", *sys.argv[1:]])
