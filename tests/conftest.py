"""What holds for all tests, and for the processes that they start."""

from __future__ import annotations

import os

# A graph is compiled for each case, and XLA spends most of that on better machine code.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
