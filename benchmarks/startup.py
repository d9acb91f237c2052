"""Prints how much CPU time it takes to start Django, with djem_async or without.

python -m benchmarks.startup CONTENDER
"""

from __future__ import annotations

import sys
import time

from benchmarks.shop import project

began = time.process_time()
project.set_up(sys.argv[1], "sqlite", ":memory:")

from django.contrib.auth import get_backends  # noqa: E402 - this is what is measured

get_backends()
print(time.process_time() - began)
