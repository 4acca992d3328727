"""Which rows ids get in a table that grows, as csrc/core/id_table.h has it, with dictionaries."""

from __future__ import annotations

import numpy as np
from kernels.random_streams import random_stream

LOOKS = 16  # rows that are looked at for one that has expired


class IdTable:
    """Counts all ids that have no row, where the table itself forgets those of long ago."""

    def __init__(self, min_count=1, max_rows=2**31 - 1, expire_after=0, zero_is_padding=False):
        self.min_count, self.max_rows = min_count, max_rows
        self.expire_after, self.zero_is_padding = expire_after, zero_is_padding
        self.row_of, self.id_of, self.seen, self.counts = {}, {}, {}, {}
        self.steps = self.hand = self.births = 0

    def find(self, ids):
        return [self.row_of.get(id, 0) for id in ids]

    def give(self, ids):
        self.steps += 1
        self.seen |= {self.row_of[id]: self.steps for id in ids if id in self.row_of}
        return [self._give(id) for id in ids]

    def _give(self, id):
        if id in self.row_of or (self.zero_is_padding and id == 0):
            return self.row_of.get(id, 0)
        self.counts[id] = self.counts.get(id, 0) + 1
        row = self._free_row() if self.counts[id] >= self.min_count else 0
        if row:
            del self.counts[id]
            self.row_of[id], self.id_of[row], self.seen[row] = row, id, self.steps
            self.births += 1
        return row

    def _free_row(self):
        for _ in range(min(LOOKS, len(self.id_of)) if self.expire_after else 0):
            self.hand = self.hand % len(self.id_of) + 1
            if self.steps - self.seen[self.hand] > self.expire_after:
                del self.row_of[self.id_of[self.hand]]
                return self.hand
        return len(self.id_of) + 1 if len(self.id_of) < self.max_rows else 0


def draw_row(kernels, seed, id, low, high, dim):
    """The first values of a row, in float64."""
    block = random_stream(kernels, (seed, 0), id)
    words = [word for i in range(-(-dim // 4)) for word in block(i)]
    return low + (high - low) * np.array(words[:dim]) * 2.0**-32
