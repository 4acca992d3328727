"""Keras optimizers that update only the rows of a table that have a gradient.

They take the arguments of the Keras optimizers of the same names, and give Keras' results for dense
gradients. For a `tf.IndexedSlices`, which is what the losses of this library and `tf.gather` give
for a table, one op sums repeated rows and updates each once, in the variable and in the
optimizer's slots, in place. The cost of a step then depends on its rows, not on the size of the
table; Keras' own optimizers touch every row, and do not sum repeated ones.

* **By default** the result is that of the dense optimizer, at the cost of the sparse one. With
  momentum, `Adam`, `AdamW`, `Lion`, `Ftrl` and weight decay a dense optimizer updates rows without
  a gradient, too. Here such updates are pending: they are applied, all at once, before the row is
  next read. So rows have to be read in a way that the optimizer knows of: by the losses of this
  library, `fastw2v.train_step`, the layers of `fastw2v.keras`, or after `apply_pending`. A gradient
  of a row that was read in another way is refused; on a GPU, where nothing can be refused, pending
  updates are applied before that of the gradient. `finalize` applies those of whole variables; so
  does the end of Keras' ``fit``. Under a distribution strategy pending updates of rows that other
  replicas have read are applied before that of the gradient, and none is refused.
* ``lazy=True``: a row without a gradient is not updated, as in the well-known LazyAdam: neither its
  weights nor its slots change. Rows may be read in any way, and a step takes about a tenth less
  time. The momentum that a dense optimizer applies in later steps is left out: a gradient that
  occurs once, late, moves its row by 2.5 times the learning rate of `Adam` in place of 25. So the
  same settings train more slowly: two towers on 110,000 pairs reach recall@50 .140, .241 and .275
  after epochs 3, 5 and 8; by default .239, .306 and .290, and with Keras' Adam .228, .303 and .302.
  A learning rate 3.3 times as high gives .260, .287 and .286.
* `SGD` without momentum and `Adagrad`, without weight decay, update only rows that have a gradient:
  ``lazy`` makes no difference.

**Saving.** The layers of `fastw2v.keras` are read, saved and exported without pending updates.
Variables of another kind are saved as they are: call `finalize` before you read or save them for
any purpose except further training. Training that continues from variables saved with the
optimizer, by Keras or by ``tf.train.Checkpoint``, gives the same bits in either case. A function
that was called before is exported within ``with optimizer.finalized():`` only if it was traced
there.

What else an optimizer of Keras can do works row by row too: gradient clipping, weight decay,
learning-rate schedules, moving averages (``use_ema``) and loss scaling. Gradient accumulation adds
up dense gradients, as in Keras.

Same bits for any number of threads. Under ``jit_compile=True``, where XLA compiles TensorFlow's own
ops alone, gradients are made dense first: same results, the cost of a dense optimizer. A compiled
step applies no pending updates: a row that has some, of steps before that were not compiled,
becomes NaN; call `finalize` in between.
"""

from fastw2v.optimizers.rules import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Ftrl,
    Lion,
    LossScaleOptimizer,
    RowwiseAdagrad,
)

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Ftrl",
    "Lion",
    "LossScaleOptimizer",
    "RowwiseAdagrad",
]
