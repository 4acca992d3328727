"""Files of any kind: where they may be written, and writing that leaves no half of one."""

from fastw2v.word2vec.files.outputs import check_outputs
from fastw2v.word2vec.files.writing import replacing

__all__ = ["check_outputs", "replacing"]
