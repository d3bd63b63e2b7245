#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""table_test.py - the columns of Ashlar in test/misuse/README.md are what runs."""
import os
import subprocess
import sys

sys.exit(subprocess.run([os.path.join(os.environ["ROOT"], "scripts/misuse-table"), "--check"], check=False).returncode)
