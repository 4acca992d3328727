"""Training on several devices and machines, under TensorFlow's strategies.

`Group` holds the collectives of the replicas; a `ShardedTable` is cut among them, and is one tensor
in a `Checkpoint`; ``fastw2v distribute`` starts the processes of one machine;
`enable_fit` lets Keras train a model on several workers. Importing this package imports no
TensorFlow: the public names are found when they are first used.
"""

from __future__ import annotations

from fastw2v._core import lazy

_HOMES = {
    "Checkpoint": "fastw2v.distribute.checkpoint",
    "Group": "fastw2v.distribute.group",
    "ShardedTable": "fastw2v.distribute.sharded_table",
    "enable_fit": "fastw2v.distribute.fit",
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazy.names(__name__, _HOMES)
