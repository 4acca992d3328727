"""Everything that the subjects use is imported here, once, before workers are forked."""

import gensim.models  # noqa: F401
import keras  # noqa: F401
import tensorflow  # noqa: F401  before fastw2v, which waits for it

import fastw2v

for name in fastw2v.__all__:
    getattr(fastw2v, name)
