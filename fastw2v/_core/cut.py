"""How the rows of a table are cut into parts."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf


class Cut(NamedTuple):
    """Consecutive parts, as `tf.nn.embedding_lookup` cuts by the strategy "div": the first ``rows %
    parts`` have one row more than the others."""

    rows: int
    parts: int

    def first_row(self, part: Any) -> Any:
        """Of a part, an integer or a tensor of them; that of part number ``parts`` is the number of
        rows."""
        size, longer = divmod(self.rows, self.parts)
        least = tf.minimum if tf.is_tensor(part) else min
        return part * size + least(part, longer)

    def sizes(self) -> list[int]:
        """The rows of each part."""
        return [self.first_row(i + 1) - self.first_row(i) for i in range(self.parts)]

    def part_of(self, rows: tf.Tensor) -> tf.Tensor:
        """The parts, int64, that rows of the table belong to."""
        size, longer = divmod(self.rows, self.parts)
        in_longer = longer * (size + 1)
        return tf.where(
            rows < in_longer, rows // (size + 1), longer + (rows - in_longer) // max(size, 1)
        )
