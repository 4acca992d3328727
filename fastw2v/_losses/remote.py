"""Tables whose rows lie in several places: on the parameter servers of a strategy, or cut among its
replicas. One op takes variables of one place: rows that it uses are fetched from where they lie,
and the op runs where the batch is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from fastw2v._core import tf_internals
from fastw2v._core.tables import LossTables, Table, shape_of
from fastw2v._losses import composed, parts, sharded

if TYPE_CHECKING:
    from fastw2v._losses.call import LossCall


def fetched(call: LossCall) -> tuple[dict[str, Any], dict[str, Any], LossTables]:
    """The inputs, attributes and tables of the same call, all of one machine.

    A sampled loss gets the rows that it uses. An exact one runs where its weights lie, and where
    these lie in several places only its embeddings are fetched.
    """
    assert call.tables is not None
    embeddings, weights, biases = call.tables
    inputs, attributes = dict(call.op_inputs), dict(call.attributes)
    if embeddings is not None:
        (embeddings,), (inputs["inputs"],) = _met(
            [embeddings], {"inputs": call.inputs}, padded=_is_padded(call.inputs, call.row_splits)
        )
    if not call.sampled and (weights.sharded is not None or len(weights.machines) > 1):
        pass  # see `exact_loss`, of `sharded` and here
    elif not call.sampled:
        biases = biases_beside(weights, biases)
    else:
        ids = {"labels": call.labels, "sampled_candidates": call.sampled_candidates}
        classes = [table for table in (weights, biases) if table is not None]
        (weights, *rest), (labels, candidates) = _met(classes, ids, ignored=call.ignore_label)
        biases = rest[0] if rest else None
        if call.ignore_label is not None:  # which may be the number of a fetched row
            attributes["ignore_label"] = -1
        inputs.update(labels=labels, sampled_candidates=candidates)
    tables = LossTables(embeddings, weights, biases)
    for name, table in zip(LossTables._fields, tables, strict=True):
        inputs[name] = [] if table is None else table.shards
    return inputs, attributes, tables


def fetched_rows(
    table: Table, ids: tf.Tensor, row_splits: Sequence[tf.Tensor]
) -> tuple[list[tf.Tensor], tf.Tensor]:
    """The shards of a lookup that is the same, of one machine, and its ids."""
    (table,), (ids,) = _met([table], {"inputs": ids}, padded=_is_padded(ids, row_splits))
    return table.shards, ids


def biases_beside(weights: Table, biases: Table | None) -> Table | None:
    """The biases for an op that reads all classes where the weights lie, on one machine."""
    if biases is None or len(weights.machines | biases.machines) < 2:
        return biases
    return _as_tensor(biases, _all_rows(biases), biases.rows)


def exact_loss(call: LossCall) -> tf.Tensor:
    """The losses [batch] where all classes compete, and their weights lie on several machines.

    The op of each shard runs where the shard lies: the hidden rows travel there, and what its
    classes know of the examples comes back. The gradients of a shard are made there, too.
    """
    assert call.tables is not None
    weights, biases = call.tables.weights, call.tables.biases
    for table in (weights, biases):
        if table is not None:
            table.prepare(None)
    sizes = _sizes(weights)
    first_classes = [sum(sizes[:i]) for i in range(len(sizes))]
    num_classes = sum(sizes)
    classes = [weights]
    every_bias = None  # of all shards, where they do not lie beside the weights
    if biases is not None and _lie_together(weights, biases):
        classes.append(biases)
    elif biases is not None:
        every_bias = _all_rows(biases)
    variables = [v for table in classes for v in table.variables if v is not None]
    # By the place of each in `classes` and its number there: what is no variable.
    given = [
        (table, i)
        for table in range(len(classes))
        for i, variable in enumerate(classes[table].variables)
        if variable is None
    ]

    @tf.custom_gradient
    def losses_of(hidden: tf.Tensor, *tensors: tf.Tensor) -> Any:
        for variable in variables:
            tf_internals.mark_as_read(variable)
        shards = [list(table.shards) for table in classes]
        for (table, i), tensor in zip(given, tensors, strict=False):
            shards[table][i] = tensor
        if every_bias is not None:
            shards.append(tf.split(tensors[-1], sizes))

        def part(i: int) -> LossCall:
            arguments = {**call.op_inputs, "embeddings": [], "inputs": hidden, "row_splits": []}
            here = [[table[i]] for table in shards] + [[]]
            return type(call)({**arguments, "weights": here[0], "biases": here[1]}, call.attributes)

        calls = [part(i) for i in range(len(sizes))]
        places = list(zip(calls, first_classes, strict=True))
        told = [parts.statistics(each, first, num_classes) for each, first in places]
        losses = parts.join(calls[0], tf.stack(told), tf.stack(sizes))

        def backward(d_loss: tf.Tensor, variables: Any = None) -> Any:
            *d_tables, d_hidden = zip(
                *(parts.gradients(*place, num_classes, d_loss, losses) for place in places),
                strict=True,
            )
            by_variable = {
                variable.ref(): gradient
                for table, gradients in zip(classes, d_tables, strict=False)
                for variable, gradient in zip(table.variables, gradients, strict=True)
                if variable is not None
            }
            d_tensors = [d_tables[table][i] for table, i in given]
            if every_bias is not None:
                d_tensors.append(tf.concat(d_tables[1], axis=0))
            d_variables = [by_variable[variable.ref()] for variable in variables or []]
            return [tf.add_n(d_hidden), *d_tensors], d_variables

        return losses.loss, backward

    tensors = [classes[table].shards[i] for table, i in given]
    if every_bias is not None:
        tensors.append(every_bias)
    losses = losses_of(sharded.hidden_rows(call), *tensors)
    losses.set_shape(call.labels.shape[:1])
    return losses


def _sizes(table: Table) -> list[Any]:
    """The rows of each shard; numbers where they are known."""
    return [
        shard.shape[0] if variable is None else variable.shape[0]
        for shard, variable in zip(table.shards, table.variables, strict=True)
    ]


def _lie_together(weights: Table, biases: Table) -> bool:
    """Whether the biases are cut as the weights are, and each shard lies beside its weights."""
    devices = [
        [None if variable is None else variable.device for variable in table.variables]
        for table in (weights, biases)
    ]
    return devices[0] == devices[1] and None not in devices[0] and _sizes(weights) == _sizes(biases)


def _all_rows(table: Table) -> tf.Tensor:
    return composed.Rows(table.shards, None, table.dtype).values


def _is_padded(ids: tf.Tensor, row_splits: Sequence[tf.Tensor]) -> bool:
    """Whether negative ids stand for nothing."""
    return not row_splits and ids.shape.rank != 1


def _met(
    tables: Sequence[Table],
    ids: dict[str, tf.Tensor],
    *,
    padded: bool = False,
    ignored: int | None = None,
) -> tuple[list[Table], list[tf.Tensor]]:
    """The rows that ids pick, each once, as tables; and the ids as numbers of these rows, -1 for
    those that stand for nothing: padding, and labels that are ``ignored``."""
    first = tables[0]
    if first.sharded is not None:
        size = tf.constant(first.rows, tf.int64)
    else:
        size = tf.add_n([tf.cast(shape_of(shard)[0], tf.int64) for shard in first.shards])
    picked, checks = [], []
    for name, numbers in ids.items():
        exists = (numbers >= 0) & (numbers < size)
        nothing = tf.zeros_like(exists)
        if padded:
            nothing = numbers < 0
        elif ignored is not None and name == "labels":
            nothing = numbers == ignored
        wrong = tf.boolean_mask(numbers, ~(exists | nothing))[:1]
        sentence = tf.strings.format(
            f"{name} holds {{}}, which is not in [0, {{}}), the rows of {first.name}", [wrong, size]
        )
        checks.append(tf.debugging.Assert(tf.size(wrong) == 0, [sentence]))
        picked.append(tf.boolean_mask(numbers, exists & ~nothing))
    with tf.control_dependencies([check for check in checks if check is not None]):
        distinct = tf.sort(tf.unique(tf.concat(picked, axis=0)).y)
    if first.sharded is not None:
        rows = sharded.rows_of(tables, distinct)
    else:
        rows = [
            composed.Rows(
                table.shards, composed.split_rows(distinct, table.shards), table.dtype
            ).values
            for table in tables
        ]
    local = []
    for name, numbers in ids.items():
        places = composed.places(distinct, numbers)
        if ignored is not None and name == "labels":
            places = tf.where(numbers == ignored, -tf.ones_like(places), places)
        local.append(tf.ensure_shape(places, numbers.shape))
    return [_as_tensor(table, part, None) for table, part in zip(tables, rows, strict=True)], local


def _as_tensor(table: Table, values: tf.Tensor, rows: int | None) -> Table:
    # The gradient of a reshape is dense, as that of the rows has to be on its way to the shards.
    values = tf.reshape(values, tf.shape(values))
    values.set_shape([None] if table.dim is None else [None, table.dim])
    return Table(
        name=table.name,
        shards=[values],
        dtype=table.dtype,
        rows=rows,
        dim=table.dim,
        variables=[None],
        machines=frozenset(),
    )
