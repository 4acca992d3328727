"""Maps on which similar words lie near each other: a picture, and a page to explore."""

from fastw2v.word2vec.maps.map import draw_map, write_map

__all__ = ["draw_map", "write_map"]
