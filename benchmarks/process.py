"""The memory of this process, as the system counts it."""

from __future__ import annotations

import ctypes


def trim() -> None:
    """Gives memory that was freed back to the system."""
    ctypes.CDLL(None).malloc_trim(0)


def forget_peak() -> None:
    """From here on the peak is that of what comes."""
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")


def resident(field: str) -> int:
    """Bytes in memory: "VmRSS:" now, "VmHWM:" at the peak."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024
