"""The causes that the doctor knows.

A key names one cause; keys never change their meaning, since tools read them from reports.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A cause of a missing or useless gradient.

    Attributes:
        title: What happened, in a few words.
        explanation: Why there is no gradient, one sentence.
        fix: What to write instead.
        ops: Types of TensorFlow ops that are this cause wherever a path from a variable to the
            loss ends in them.
        message: TensorFlow's own message, where the cause is loud.
        effect: "missing": there is no gradient; "useless": there is one that does not train;
            "error": the loss cannot be computed; "note": training differs from what one expects.
    """

    title: str
    explanation: str
    fix: str
    ops: tuple[str, ...] = ()
    message: str = ""
    effect: str = "missing"


_ROUNDING = ("Round", "Rint", "Floor", "Ceil", "FloorDiv")
_COMPARISONS = (
    *("Equal", "NotEqual", "Less", "LessEqual", "Greater", "GreaterEqual", "ApproximateEqual"),
    *("LogicalAnd", "LogicalOr", "LogicalNot", "IsNan", "IsInf", "IsFinite", "InTopK", "InTopKV2"),
)
_STRINGS = (
    *("AsString", "StringFormat", "StringToNumber", "StringJoin", "StringSplit", "StringSplitV2"),
    *("StringToHashBucket", "StringToHashBucketFast", "StringToHashBucketStrong", "StringLower"),
    *("StringUpper", "StringStrip", "StringLength", "RegexReplace", "StaticRegexReplace", "Substr"),
    *("StringNGrams", "UnicodeDecode", "UnicodeEncode", "ReduceJoin", "EncodeBase64"),
)
_SERIALIZERS = (
    *("SerializeTensor", "ParseTensor", "SerializeSparse", "SerializeManySparse", "DecodeRaw"),
    *(
        "DeserializeSparse",
        "DeserializeManySparse",
        "DecodePaddedRaw",
        "EncodeProto",
        "DecodeProto",
    ),
    *("DecodeProtoV2", "ParseExample", "ParseExampleV2", "ParseSingleExample", "WriteFile"),
    *("EncodePng", "EncodeJpeg", "DecodePng", "DecodeJpeg", "SaveV2", "RestoreV2"),
)
_DRAWS = (
    *("Multinomial", "StatelessMultinomial", "RandomPoisson", "RandomPoissonV2", "RandomShuffle"),
    *("StatelessShuffle", "StatelessRandomBinomial", "StatefulRandomBinomial"),
    *("StatelessRandomPoisson", "ParameterizedTruncatedNormal"),
)
_DATASETS = (
    *("TensorDataset", "TensorSliceDataset", "SparseTensorSliceDataset", "GeneratorDataset"),
    *("MapDataset", "ParallelMapDataset", "ParallelMapDatasetV2", "BatchDatasetV2"),
    *("FlatMapDataset", "FilterDataset", "RangeDataset", "ReduceDataset", "ScanDataset"),
    *("MakeIterator", "IteratorGetNext", "IteratorGetNextSync", "IteratorGetNextAsOptional"),
    *("DatasetToSingleElement", "OptionalGetValue", "OneShotIterator", "IteratorV2"),
    *("MapAndBatchDataset", "AnonymousIteratorV2", "AnonymousIteratorV3"),
)
_TABLES = (
    *("LookupTableFind", "LookupTableFindV2", "LookupTableInsert", "LookupTableInsertV2"),
    *("LookupTableImport", "LookupTableImportV2", "LookupTableExport", "LookupTableExportV2"),
    *("InitializeTable", "InitializeTableV2"),
)

KINDS: dict[str, Kind] = {
    # What the variable or the tensor itself is.
    "integer_variable": Kind(
        "integer variable",
        "A variable of an integer, bool or string type has no gradient: only "
        "floating-point and complex values have one.",
        "Make it a float variable:\nw = tf.Variable(tf.cast(values, tf.float32))",
    ),
    "not_trainable": Kind(
        "trainable=False",
        "The tape watches trainable variables by itself, and no others.",
        "Create it with trainable=True (or set layer.trainable = True where its layer is "
        "frozen), or tell the tape, inside its with block and before the use:\n"
        "tape.watch(variable)",
    ),
    "layer_state": Kind(
        "kept by its layer, not trained",
        "A layer updates some variables itself, as BatchNormalization its statistics; "
        "they have no gradient and need none.",
        "Ask for the gradients of the variables that are trained:\n"
        "gradients = tape.gradient(loss, model.trainable_variables)\n"
        "optimizer.apply_gradients(zip(gradients, model.trainable_variables))",
        effect="note",
    ),
    "unwatched_tensor": Kind(
        "tensor that no tape watches",
        "The tape watches trainable variables by itself, but a tensor only after tape.watch.",
        "Tell the tape, before the tensor is used:\n"
        "with tf.GradientTape() as tape:\n"
        "    tape.watch(x)\n"
        "    loss = loss_fn(x)",
    ),
    "overwritten_variable": Kind(
        "variable replaced by a tensor",
        "The name of the variable was given to a tensor computed from it, which no tape watches by "
        "itself.",
        "Write the new value into the variable, which stays one:\n"
        "variable.assign_sub(rate * gradient)",
    ),
    "watched_too_late": Kind(
        "watched after its use",
        "The tape records what is computed from a tensor after tape.watch, not before.",
        "Watch first, then compute:\n"
        "with tf.GradientTape() as tape:\n"
        "    tape.watch(x)\n"
        "    loss = loss_fn(x)",
    ),
    "no_automatic_watch": Kind(
        "watch_accessed_variables=False",
        "A tape made with watch_accessed_variables=False watches only what tape.watch names.",
        "Leave watch_accessed_variables=False out, or tell the tape:\n"
        "with tf.GradientTape(watch_accessed_variables=False) as tape:\n"
        "    tape.watch(variable)\n"
        "    loss = loss_fn(variable)",
    ),
    "copy_of_variable": Kind(
        "gradient asked for a copy",
        "The gradient was asked for a tensor that was read from the variable and on "
        "which the loss does not depend.",
        "Ask for the variable itself:\ntape.gradient(loss, variable)",
    ),
    # How the tape was used.
    "before_tape": Kind(
        "computed before the tape",
        "The tape records only what runs inside its with block.",
        "Move the computation into the block:\n"
        "with tf.GradientTape() as tape:\n"
        "    loss = loss_fn(variable)",
    ),
    "after_tape": Kind(
        "computed after the tape",
        "The tape records only what runs inside its with block.",
        "Move the computation into the block:\n"
        "with tf.GradientTape() as tape:\n"
        "    loss = loss_fn(variable)",
    ),
    "stop_recording": Kind(
        "tape.stop_recording()",
        "The tape does not record what runs inside tape.stop_recording().",
        "Move what is to be differentiated out of the stop_recording block.",
    ),
    "inner_gradient_outside": Kind(
        "inner gradient taken outside the outer tape",
        "For a second derivative the outer tape must record how the inner tape computes the first.",
        "Call the inner gradient inside the outer block:\n"
        "with tf.GradientTape() as outer:\n"
        "    with tf.GradientTape() as inner:\n"
        "        loss = loss_fn(x)\n"
        "    first = inner.gradient(loss, x)\n"
        "second = outer.gradient(first, x)",
    ),
    "unused": Kind(
        "not used by the loss",
        "The loss does not depend on it.",
        "Use it in the loss, or do not ask for its gradient. If a part of the model is "
        "meant to be left out, set trainable = False there.",
    ),
    "new_variable": Kind(
        "new tf.Variable inside the computation",
        "tf.Variable(...) copies the value it is given, and no gradient passes back "
        "through the copy.",
        "Compute with the tensor itself, or create the variable once, outside, and "
        "compute with it.",
    ),
    "assignment": Kind(
        "assignment inside the computation",
        "Assigning to a variable copies the value, and no gradient passes back through the copy.",
        "Compute the loss from the tensor that was assigned:\n"
        "value = f(x)\n"
        "variable.assign(value)\n"
        "loss = loss_fn(value)",
    ),
    # Where values leave TensorFlow.
    "numpy": Kind(
        ".numpy() or another way out of TensorFlow",
        "What is computed by NumPy or plain Python, outside TensorFlow, cannot be differentiated.",
        "Compute with TensorFlow's functions, such as tf.reduce_mean(x) in place of "
        "np.mean(x), and print or log with .numpy() only what the loss does not need.",
    ),
    "python_function": Kind(
        "tf.numpy_function or tf.py_function of NumPy code",
        "TensorFlow does not see what a NumPy function computes.",
        "Write the function with TensorFlow ops; tf.py_function (not tf.numpy_function)"
        " then has a gradient:\n"
        "y = tf.py_function(lambda x: tf.math.log(x), [x], tf.float32)",
        ("PyFunc", "PyFuncStateless", "EagerPyFunc"),
    ),
    # Ops with integer or constant results.
    "cast_to_integer": Kind(
        "cast to integers",
        "Integers have no gradient, and a cast back to floats does not bring it back.",
        "Keep the value in floating point; use the integer only as an index or a label.",
        ("Cast",),
    ),
    "stop_gradient": Kind(
        "tf.stop_gradient",
        "tf.stop_gradient passes values on and holds gradients back.",
        "Leave tf.stop_gradient out where the variable is to be trained.",
        ("StopGradient", "PreventGradient"),
    ),
    "argmax": Kind(
        "argmax, argsort or another index",
        "The place of a value is an integer and has no gradient.",
        "Use the value itself, or a smooth choice:\n"
        "weights = tf.nn.softmax(x)\n"
        "chosen = tf.reduce_sum(weights * values, axis=-1)",
        ("ArgMax", "ArgMin", "TopK", "TopKV2", "Where", "NonMaxSuppressionV3", "Bucketize"),
    ),
    "one_hot": Kind(
        "tf.one_hot",
        "TensorFlow defines no gradient for tf.one_hot: its indices are integers, and "
        "on_value counts as a constant.",
        "Use a smooth choice in place of tf.one_hot(tf.argmax(x), depth):\n"
        "choice = tf.nn.softmax(x)",
        ("OneHot",),
    ),
    "rounding": Kind(
        "rounding",
        "Rounding is constant between its steps, so TensorFlow defines no gradient for it.",
        "Compute the loss from the value before rounding, or round only on the way "
        "forward (a straight-through estimator):\n"
        "x = x + tf.stop_gradient(tf.round(x) - x)",
        _ROUNDING,
    ),
    "comparison": Kind(
        "comparison",
        "A comparison gives true or false, which have no gradient.",
        "Use a smooth function in its place:\nlarger = tf.sigmoid(a - b)",
        _COMPARISONS,
    ),
    "string": Kind(
        "string",
        "A number made into text, or text into a number, has no gradient.",
        "Keep the value a number.",
        _STRINGS,
    ),
    "bitcast": Kind(
        "tf.bitcast",
        "tf.bitcast reads the same bits as another type, which has no gradient.",
        "Convert between floating-point types by value:\ny = tf.cast(x, tf.float64)",
        ("Bitcast",),
    ),
    "serialize": Kind(
        "serialized value",
        "Bytes have no gradient.",
        "Use the tensor itself in place of its serialized form.",
        _SERIALIZERS,
    ),
    "unique_index": Kind(
        "index given by tf.unique",
        "The index that tf.unique gives is an integer and has no gradient.",
        "Look up values that have one, by the index:\nrows = tf.gather(table, index)",
        ("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2"),
    ),
    "searchsorted": Kind(
        "tf.searchsorted",
        "The place found by tf.searchsorted is an integer and has no gradient.",
        "Count smoothly how many edges lie below the value:\n"
        "below = tf.sigmoid((x[:, tf.newaxis] - edges) / width)\n"
        "place = tf.reduce_sum(below, axis=1)",
        ("LowerBound", "UpperBound"),
    ),
    "range": Kind(
        "tf.range",
        "TensorFlow defines no gradient for tf.range, since its number of elements jumps.",
        "Scale a constant range:\nvalues = start + step * tf.range(n, dtype=tf.float32)",
        ("Range", "LinSpace"),
    ),
    "shape": Kind(
        "shape or size",
        "A shape or a size does not depend on the values of a tensor.",
        "Use the values themselves, for example tf.reduce_sum(x).",
        ("Shape", "ShapeN", "Size", "Rank"),
    ),
    "zeros_like": Kind(
        "tf.zeros_like or tf.ones_like",
        "The result has the shape of the tensor and does not depend on its values.",
        "Use the values themselves.",
        ("ZerosLike", "OnesLike"),
    ),
    "random_draw": Kind(
        "random draw",
        "What is drawn from a distribution is not differentiated by the parameters of the draw.",
        "Transform noise that depends on no variable (reparameterization; for classes, "
        "Gumbel-softmax):\n"
        "uniform = tf.random.uniform(tf.shape(logits), 1e-9, 1.0)\n"
        "noise = -tf.math.log(-tf.math.log(uniform))\n"
        "choice = tf.nn.softmax((logits + noise) / temperature)",
        _DRAWS,
    ),
    "dataset": Kind(
        "tf.data",
        "What passes through a tf.data.Dataset is not recorded by the tape.",
        "Compute with the variable outside of the dataset, on the batches that it "
        "gives:\n"
        "for batch in dataset:\n"
        "    with tf.GradientTape() as tape:\n"
        "        loss = loss_fn(variable, batch)",
        _DATASETS,
    ),
    "hash_table": Kind(
        "hash table",
        "What is stored in or looked up from a table of tf.lookup has no gradient.",
        "Look ids up in the table, and rows in a variable:\nrows = tf.gather(variable, ids)",
        _TABLES,
    ),
    "custom_gradient": Kind(
        "custom gradient that returns None",
        "The gradient function given to tf.custom_gradient returns None for this input.",
        "Return a tensor for every input that is to be trained.",
    ),
    "not_differentiable": Kind(
        "op without a gradient",
        "TensorFlow says of this op that it has no gradient.",
        "Compute the same by ops that have one, or define it:\n"
        "@tf.custom_gradient\n"
        "def f(x):\n"
        "    y = op(x)\n"
        "    return y, lambda upstream: upstream * slope(x)",
    ),
    # Causes that raise.
    "no_gradient_registered": Kind(
        "no gradient registered",
        "Nobody registered a gradient for this op.",
        "Compute the same by ops that have one. Where no gradient is wanted, say so:\n"
        "y = op(tf.stop_gradient(x))",
        (),
        "gradient registry has no entry for",
    ),
    "persistent_tape": Kind(
        "second gradient from one tape",
        "A tape forgets what it recorded when its gradient is taken, unless it is persistent.",
        "Ask once for all gradients, or make the tape persistent:\n"
        "a, b = tape.gradient(loss, [first, second])\n"
        "with tf.GradientTape(persistent=True) as tape:\n"
        "    loss = loss_fn()",
        (),
        "A non-persistent GradientTape can only be used to compute one set of gradients",
    ),
    # Gradients that exist and do not train, and losses that raise.
    "not_finite": Kind(
        "NaN or Inf",
        "A step with NaN or Inf in the gradient makes every weight that it reaches NaN.",
        "Keep the op that made it away from the edge of its domain, or use a loss that "
        "takes logits:\n"
        "tf.sqrt(x + 1e-12)\n"
        "tf.math.log(x + 1e-12)\n"
        "tf.math.divide_no_nan(x, y)\n"
        "tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)",
        effect="useless",
    ),
    "zero_gradient": Kind(
        "gradient exactly zero",
        "The gradient of every element is exactly zero, so no step changes the variable.",
        "Use a function that has a slope there (tf.nn.leaky_relu for tf.nn.relu, no "
        "tf.sign and no clipping in the loss, logits in place of saturated "
        "probabilities), or bring the values back to where it has one (smaller weights,"
        " scaled inputs).",
        effect="useless",
    ),
    "ids_out_of_range": Kind(
        "id out of range",
        "An id names a row or a class that does not exist.",
        "Make the table as large as the largest id plus one, or give unknown ids a row "
        "of their own:\n"
        "ids = tf.where((ids >= 0) & (ids < rows), ids, unknown)",
        message="is not in [0, ",
        effect="error",
    ),
    "label_out_of_range": Kind(
        "label outside of tf.one_hot's depth",
        "tf.one_hot gives a row of zeros for a label outside of its depth, so the "
        "example counts for nothing.",
        "Make depth the number of classes:\ntargets = tf.one_hot(labels, number_of_classes)",
        effect="useless",
    ),
    "ids_cast_to_float": Kind(
        "ids cast through floats",
        "float32 holds every integer up to 2^24 (float16 up to 2^11, bfloat16 up to "
        "2^8); above, an id becomes its neighbor.",
        "Keep ids integers all the way; keras.losses.Loss casts labels to floats, so "
        "compute such a loss outside of it:\n"
        'ids = keras.Input([1], dtype="int64")',
        effect="useless",
    ),
    "rank": Kind(
        "wrong rank",
        "The op wants a batch, and one of its inputs has no batch axis, such as the "
        "vector that tf.gather gives for a single id.",
        "Add a batch axis, or call the loss of fastw2v that takes single ids:\n"
        "hidden = tf.gather(embeddings, [word])\n"
        "loss = fastw2v.softmax_loss(\n"
        "    embeddings, weights, biases, inputs=word, labels=label\n"
        ")",
        message="Shape must be rank 2 but is rank 1",
        effect="error",
    ),
    "repeated_rows": Kind(
        "repeated rows in a sparse gradient",
        "The optimizer does not sum repeated rows of tf.IndexedSlices, so its step "
        "differs from that of the dense gradient.",
        "Sum them first, or use a loss of fastw2v, whose gradients have unique rows:\n"
        "rows, place = tf.unique(gradient.indices)\n"
        "sums = tf.math.unsorted_segment_sum(gradient.values, place, tf.size(rows))\n"
        "gradient = tf.IndexedSlices(sums, rows, gradient.dense_shape)",
        effect="note",
    ),
    "undecided": Kind(
        "undecided",
        "The doctor could not find out why there is no gradient.",
        "Start from what is known below, and look at the ops on the path.",
    ),
}

OF_OP: dict[str, str] = {op: key for key, kind in KINDS.items() for op in kind.ops}
