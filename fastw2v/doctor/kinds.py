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
        "A variable of an integer, bool or string type has no gradient.",
        'Make it a float variable: tf.Variable(..., dtype="float32").',
    ),
    "not_trainable": Kind(
        "trainable=False",
        "The tape watches trainable variables by itself, and no others.",
        "Create the variable with trainable=True, or call tape.watch(variable) first.",
    ),
    "unwatched_tensor": Kind(
        "tensor that no tape watches",
        "The tape watches variables by itself; a tensor only if it is told to.",
        "Call tape.watch(tensor) inside the tape, before the tensor is used.",
    ),
    "watched_too_late": Kind(
        "watched after its use",
        "The tape records what happens to a tensor from tape.watch on, not before.",
        "Call tape.watch(tensor) before the tensor is used.",
    ),
    "no_automatic_watch": Kind(
        "watch_accessed_variables=False",
        "This tape watches only what it is told to.",
        "Call tape.watch(variable) inside the tape, or leave watch_accessed_variables=False out.",
    ),
    "copy_of_variable": Kind(
        "gradient asked for a copy",
        "The gradient was asked for a tensor read from the variable apart from the loss.",
        "Pass the variable itself to tape.gradient.",
    ),
    # How the tape was used.
    "before_tape": Kind(
        "computed before the tape",
        "The tape records only what runs inside its `with` block.",
        "Move the computation into the `with tf.GradientTape()` block.",
    ),
    "after_tape": Kind(
        "computed after the tape",
        "The tape records only what runs inside its `with` block.",
        "Move the computation into the `with tf.GradientTape()` block.",
    ),
    "stop_recording": Kind(
        "tape.stop_recording()",
        "The tape does not see what runs inside tape.stop_recording().",
        "Move what shall be differentiated out of the stop_recording() block.",
    ),
    "inner_gradient_outside": Kind(
        "inner gradient taken outside the outer tape",
        "The outer tape must be open while the inner tape computes its gradient.",
        "Call inner_tape.gradient(...) inside the outer tape's `with` block.",
    ),
    "unused": Kind(
        "not used by the loss",
        "The loss does not depend on the variable.",
        "Use the variable in the loss, or do not ask for its gradient.",
    ),
    "new_variable": Kind(
        "new tf.Variable inside the computation",
        "tf.Variable(...) copies the value it is given; no gradient passes to where it came from.",
        "Use the tensor itself, or create the variable once, outside, and compute with it.",
    ),
    "assignment": Kind(
        "assignment inside the computation",
        "Assigning to a variable copies the value; no gradient passes through the copy.",
        "Compute the loss from the tensor that was assigned, not from the variable.",
    ),
    # Where values leave TensorFlow.
    "numpy": Kind(
        ".numpy() or another way out of TensorFlow",
        "What is computed outside TensorFlow, in Python or NumPy, cannot be differentiated.",
        "Compute with TensorFlow's functions in place of NumPy's.",
    ),
    "python_function": Kind(
        "tf.numpy_function or tf.py_function of NumPy code",
        "TensorFlow does not see what happens inside a NumPy function.",
        "Write the function with TensorFlow ops, or give it a gradient by tf.custom_gradient.",
        ("PyFunc", "PyFuncStateless", "EagerPyFunc"),
    ),
    # Ops with integer or constant results.
    "cast_to_integer": Kind(
        "cast to integers",
        "Integers have no gradient, and a cast back to floats does not bring it back.",
        "Keep the value in floating point, or use it only as an index.",
        ("Cast",),
    ),
    "stop_gradient": Kind(
        "tf.stop_gradient",
        "tf.stop_gradient passes values on and holds gradients back.",
        "Leave tf.stop_gradient out where the variable shall be trained.",
        ("StopGradient", "PreventGradient"),
    ),
    "argmax": Kind(
        "argmax, argsort or another index",
        "The place of a value is an integer and has no gradient.",
        "Use a smooth choice, such as tf.nn.softmax(x), or the value itself.",
        ("ArgMax", "ArgMin", "TopK", "TopKV2", "Where", "NonMaxSuppressionV3", "Bucketize"),
    ),
    "one_hot": Kind(
        "one_hot",
        "tf.one_hot takes integers, and nothing passes back through them.",
        "Use tf.nn.softmax(x) in place of tf.one_hot(tf.argmax(x), depth).",
        ("OneHot",),
    ),
    "rounding": Kind(
        "rounding",
        "Rounding is constant between its steps, so TensorFlow defines no gradient for it.",
        "Compute the loss from the value before rounding.",
        _ROUNDING,
    ),
    "comparison": Kind(
        "comparison",
        "A comparison gives true or false, which have no gradient.",
        "Use a smooth function in its place, such as tf.sigmoid(a - b).",
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
        "tf.bitcast reads the same bits as another type and has no gradient.",
        "Use tf.cast between floating-point types.",
        ("Bitcast",),
    ),
    "serialize": Kind(
        "serialised value",
        "Bytes have no gradient.",
        "Use the tensor itself in place of its serialised form.",
        _SERIALIZERS,
    ),
    "unique_index": Kind(
        "index of tf.unique",
        "The index that tf.unique gives is an integer and has no gradient.",
        "Use tf.gather(values, index) on values that have a gradient.",
        ("Unique", "UniqueV2", "UniqueWithCounts", "UniqueWithCountsV2"),
    ),
    "searchsorted": Kind(
        "tf.searchsorted",
        "The place found by tf.searchsorted is an integer and has no gradient.",
        "Use a smooth function of the distances.",
        ("LowerBound", "UpperBound"),
    ),
    "range": Kind(
        "tf.range",
        "The number of elements of tf.range jumps, so it has no gradient.",
        "Multiply a constant range: start + step * tf.range(n).",
        ("Range", "LinSpace"),
    ),
    "shape": Kind(
        "shape",
        "A shape or a size does not depend on the values.",
        "Use the values themselves.",
        ("Shape", "ShapeN", "Size", "Rank"),
    ),
    "zeros_like": Kind(
        "zeros_like or ones_like",
        "The result does not depend on the values.",
        "Use the values themselves.",
        ("ZerosLike", "OnesLike"),
    ),
    "random_draw": Kind(
        "random draw",
        "What is drawn from a distribution is not differentiated by its parameters.",
        "Draw noise that depends on no variable and transform it (Gumbel-softmax).",
        _DRAWS,
    ),
    "dataset": Kind(
        "tf.data",
        "What passes through a tf.data.Dataset is not recorded.",
        "Compute with the variable outside the dataset, on the batches that it gives.",
        _DATASETS,
    ),
    "hash_table": Kind(
        "hash table",
        "What is stored in or looked up from a table has no gradient.",
        "Use tf.gather or an embedding layer on a variable.",
        _TABLES,
    ),
    "custom_gradient": Kind(
        "custom gradient returns None",
        "The function given by tf.custom_gradient returns None for this input.",
        "Return a tensor for this input from the gradient function.",
    ),
    "not_differentiable": Kind(
        "op without a gradient",
        "TensorFlow defines no gradient for this op.",
        "Compute the same by differentiable ops, or give a gradient by tf.custom_gradient.",
    ),
    # Causes that raise.
    "no_gradient_registered": Kind(
        "no gradient registered",
        "Nobody registered a gradient for this op.",
        "Compute the same by differentiable ops, or put tf.stop_gradient around its input.",
        (),
        "gradient registry has no entry for",
    ),
    "persistent_tape": Kind(
        "second gradient from one tape",
        "A tape forgets what it recorded when its gradient is taken, unless it is persistent.",
        "Write tf.GradientTape(persistent=True), or ask once for all gradients.",
        (),
        "A non-persistent GradientTape can only be used to compute one set of gradients",
    ),
    # Gradients that exist and do not train, and losses that raise.
    "not_finite": Kind(
        "NaN or Inf",
        "A gradient with NaN or Inf makes every weight that it reaches NaN.",
        "Keep the op that made it away from the edge of its domain, such as tf.sqrt(x + 1e-12), "
        "tf.math.log(x + 1e-12), tf.math.divide_no_nan(x, y) or the losses that take logits.",
        effect="useless",
    ),
    "zero_gradient": Kind(
        "gradient exactly zero",
        "The gradient of every element is exactly zero, so no step changes the variable.",
        "Use a function with a slope (tf.nn.leaky_relu, no tf.sign, no clipping inside the loss), "
        "or bring the values back to where it has one.",
        effect="useless",
    ),
    "ids_out_of_range": Kind(
        "id out of range",
        "An id names a row or class that does not exist.",
        "Make the table as large as the largest id plus one, or map unknown ids to a row of "
        "their own before the lookup.",
        message="is not in [0, ",
        effect="error",
    ),
    "label_out_of_range": Kind(
        "label outside of tf.one_hot's depth",
        "tf.one_hot gives a row of zeros for a label outside of its depth, so the example counts "
        "for nothing.",
        "Make depth the number of classes, which is the largest label plus one.",
        effect="useless",
    ),
    "ids_cast_to_float": Kind(
        "ids cast through floats",
        "float32 holds integers up to 2^24 (float16 up to 2^11, bfloat16 up to 2^8); above, an id "
        "becomes a neighbour's.",
        'Keep ids integers all the way: keras.Input(..., dtype="int32"), and a loss that takes '
        "integer labels outside of keras.losses.Loss, which casts them.",
        effect="useless",
    ),
    "rank": Kind(
        "wrong rank",
        "The op wants a batch, and one of its inputs has no batch axis; tf.gather with a single id "
        "gives such a vector.",
        "Add a batch axis, as in tf.gather(embeddings, [id]) or x[tf.newaxis, :], or call "
        "fastw2v.softmax_loss(embeddings, weights, biases, id, label), which takes single ids.",
        message="Shape must be rank 2 but is rank 1",
        effect="error",
    ),
    "repeated_rows": Kind(
        "repeated rows in a sparse gradient",
        "The optimizer treats repeated rows of tf.IndexedSlices one after another and does not "
        "sum them first, so its step differs from that of the dense gradient.",
        "Sum them first, as in tf.math.unsorted_segment_sum over tf.unique(gradient.indices), or "
        "use a loss of fastw2v, whose gradients have unique rows.",
        effect="note",
    ),
    "undecided": Kind(
        "undecided",
        "The doctor could not find out why there is no gradient.",
        "See what is known below, and look at the ops on the path.",
    ),
}

OF_OP: dict[str, str] = {op: key for key, kind in KINDS.items() for op in kind.ops}
