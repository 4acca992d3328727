"""Checks a `Group` under a strategy: with an argument under a MirroredStrategy of so many logical
CPUs, which TensorFlow puts in another order, else as one of the workers of TF_CONFIG.

At last the replicas come with tensors of different shapes, after which no collective runs.
"""

import sys

import numpy as np
import tensorflow as tf

MIRRORED = int(sys.argv[1]) if len(sys.argv) > 1 else 0
if MIRRORED:
    config = tf.compat.v1.ConfigProto()
    config.gpu_options.experimental.collective_ring_order = "2,0,3,1"
    tf.compat.v1.enable_eager_execution(config)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * MIRRORED
    )

from distribute.programs.refusing import raises  # noqa: E402

from fastw2v.distribute import Group  # noqa: E402

if MIRRORED:
    STRATEGY = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(MIRRORED)])
else:
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
N = STRATEGY.num_replicas_in_sync
with STRATEGY.scope():
    GROUP = Group(size=None)
ALONE = tf.constant(0.0)


def values(dtype, *shape):
    """What the replicas come with, [N, ...]: the same in all processes."""
    numbers = np.random.default_rng(len(shape)).normal(0, 10, (N, *shape))
    return np.round(numbers).astype(tf.as_dtype(dtype).as_numpy_dtype)


def run(function, eager=False):
    """{replica: what function(replica) returns there}, of the replicas of this process."""

    def in_replica():
        context = tf.distribute.get_replica_context()
        replica = int(tf.get_static_value(context.replica_id_in_sync_group))
        return replica, tf.nest.map_structure(tf.identity, function(replica))

    def step():
        return STRATEGY.run(in_replica)

    replicas, results = step() if eager else tf.function(step, autograph=False)()
    per_replica = [STRATEGY.experimental_local_results(part) for part in tf.nest.flatten(results)]
    structured = [
        tf.nest.pack_sequence_as(results, [np.asarray(part) for part in parts])
        for parts in zip(*per_replica, strict=True)
    ]
    here = STRATEGY.experimental_local_results(replicas)
    return dict(zip([int(each) for each in here], structured, strict=True))


def compare(function, expected, **options):
    for replica, got in run(function, **options).items():
        want = expected(replica)
        for one, other in zip(tf.nest.flatten(got), tf.nest.flatten(want), strict=True):
            np.testing.assert_array_equal(one, other, strict=isinstance(other, np.ndarray))


def all_of(x, parts):
    """What the four collectives return for x [N, n, ...] and parts [N, N, ...]."""

    def expected(replica):
        total = sum(parts.astype(np.float64)).astype(parts.dtype)
        return [
            sum(x.astype(np.float64)).astype(x.dtype),
            x.max(axis=0),
            x.reshape(-1, *x.shape[2:]),
            parts[:, replica],
            total[replica : replica + 1],
        ]

    def function(replica):
        mine, to_all = tf.constant(x[replica]), tf.constant(parts[replica])
        return [
            GROUP.all_reduce(mine),
            GROUP.all_reduce(mine, op="max"),
            GROUP.all_gather(mine),
            GROUP.all_to_all(to_all),
            GROUP.reduce_scatter(to_all),
        ]

    return function, expected


def check_values():
    others = () if MIRRORED else ("float64", "float16", "int32", "int64")
    for dtype in ("float32", "bfloat16", *others):
        compare(*all_of(values(dtype, 3, 2), values(dtype, N, 5)))


def check_eager():
    compare(*all_of(values("float32", 3, 2), values("float32", N, 5)), eager=True)
    compare(lambda replica: GROUP.all_reduce(ALONE + 1), lambda replica: N, eager=True)
    one = tf.constant(1)
    compare(lambda replica: GROUP.all_reduce(one), lambda replica: N, eager=True)


def check_ranks():
    assert (GROUP.size, GROUP.num_replicas, GROUP.across.size) == (N, N, 1)
    assert GROUP.strategy is STRATEGY and GROUP.across.across is GROUP
    compare(lambda replica: GROUP.rank, lambda replica: replica)
    compare(lambda replica: GROUP.across.rank, lambda replica: 0)
    compare(lambda replica: GROUP.across.all_gather([replica]), lambda replica: [replica])


def check_replicas_have_the_same_bits():
    x = np.random.default_rng(1).normal(size=(N, 1000)).astype(np.float32)
    first, second = (
        run(lambda replica: GROUP.all_gather(GROUP.all_reduce(x[replica])[tf.newaxis]))
        for _ in range(2)
    )
    for replica, rows in first.items():
        assert np.all(rows == rows[0]) and np.all(rows == second[replica])
        np.testing.assert_allclose(rows[0], x.astype(np.float64).sum(0), rtol=1e-4, atol=1e-5)


def check_sub_groups():
    """Groups of two, beside a group of all and the strategy's own collectives."""
    if N % 2:
        return
    pairs = Group(STRATEGY, 2)
    assert (pairs.size, pairs.num_replicas, pairs.across.size) == (2, N, N // 2)
    x = values("float32", 2, 3)

    def function(replica):
        mine, results = tf.constant(x[replica]), []
        for i in range(3):  # in turn: each counts its own collectives
            results += [
                pairs.all_reduce(mine + i),
                pairs.across.all_gather(mine + i),
                GROUP.all_to_all(tf.range(N) + i),
                pairs.all_to_all(mine + i),
                tf.distribute.get_replica_context().all_reduce("sum", mine + i),
                pairs.across.all_reduce(mine + i, "max"),
            ]
        return results, pairs.rank, pairs.across.rank

    def expected(replica):
        pair, rank = 2 * (replica // 2), replica % 2
        results = []
        for i in range(3):
            y = x + np.float32(i)
            results += [
                y[pair] + y[pair + 1],
                y[rank::2].reshape(-1, 3),
                np.full(N, replica + i, np.int32),
                y[pair : pair + 2, rank],
                y.sum(0),
                y[rank::2].max(0),
            ]
        return results, rank, replica // 2

    compare(function, expected)


def check_gradients():
    x, parts = values("float32", 3, 2), values("float32", N, 5)
    weights = [values("float32", *shape) for shape in ((3, 2), (N * 3, 2), (N, 5), (1, 5))]
    methods = (GROUP.all_reduce, GROUP.all_gather, GROUP.all_to_all, GROUP.reduce_scatter)

    def function(replica):
        arguments = [tf.constant(each[replica]) for each in (x, x, parts, parts)]
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(arguments)
            losses = [
                tf.reduce_sum(method(argument) ** 2 * weight[replica])
                for method, argument, weight in zip(methods, arguments, weights, strict=True)
            ]
            maximum = GROUP.all_reduce(arguments[0], "max")
            # Rows that are picked have a gradient of slices.
            picked = tf.reduce_sum(tf.gather(GROUP.all_gather(arguments[1]), [1, 1]))
        assert tape.gradient(maximum, arguments[0]) is None
        return (
            [tape.gradient(*pair) for pair in zip(losses, arguments, strict=True)],
            tape.gradient(picked, arguments[1]),
        )

    def expected(replica):
        total, gathered = x.sum(0), x.reshape(-1, 2)
        summed = parts.sum(0)
        twice = np.zeros((3, 2), np.float32)
        twice[1] = 2 * N if replica == 0 else 0
        return [
            2 * total * weights[0].sum(0),
            (2 * gathered * weights[1].sum(0)).reshape(N, 3, 2)[replica],
            2 * parts[replica] * weights[2][:, replica],
            2 * summed * weights[3][:, 0],
        ], twice

    compare(function, expected)
    compare(function, expected, eager=True)


def check_second_derivative():
    def function(replica):
        x = tf.constant([1.0 + replica])
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(GROUP.all_gather(x) ** 3)
            first = inner.gradient(loss, x)
        return first, outer.gradient(first, x)

    compare(function, lambda r: (3.0 * N * (1 + r) ** 2, 6.0 * N * (1 + r)))


def check_control_flow():
    x = values("float32", 2)

    def function(replica):
        mine = tf.constant(x[replica])

        def loop(y):
            def body(i, total):  # whose collectives do not wait for the iteration before
                j = tf.cast(i, tf.float32)
                return i + 1, total + GROUP.all_reduce(j * y) + GROUP.all_gather(y)[:2]

            return tf.while_loop(lambda i, _: i < 40, body, [0, tf.zeros(2)])[1]

        with tf.GradientTape(persistent=True) as tape:
            tape.watch(mine)
            looped = loop(mine)
            # All replicas take the same branch.
            branch = tf.cond(
                GROUP.all_reduce(tf.constant(replica)) > 0,
                lambda: GROUP.all_reduce(mine),
                lambda: mine,
            )
        return looped, tape.gradient(looped, mine), branch, tape.gradient(branch, mine)

    def expected(replica):
        steps = np.arange(40, dtype=np.float32).sum()
        slope = steps * N + (40 * N if replica == 0 else 0)
        return (
            steps * x.sum(0) + 40 * x[0],
            np.full(2, slope, np.float32),
            x.sum(0),
            np.full(2, N, np.float32),
        )

    compare(function, expected)


def check_functions_in_functions():
    @tf.function(autograph=False)
    def inner(x):
        return GROUP.all_gather(x)

    x = values("float32", 2)

    def function(replica):
        mine = tf.constant(x[replica])
        with tf.GradientTape() as tape:
            tape.watch(mine)
            gathered = inner(mine)
        return gathered, tape.gradient(gathered, mine)

    compare(function, lambda replica: (x.reshape(-1), np.full(2, N, np.float32)))


def check_shapes():
    """What is known of a shape stays known, and nothing is as good as something."""
    shapes = []

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, 3])])
    def step(x):
        def function():
            results = [
                GROUP.all_reduce(x),
                GROUP.all_gather(x),
                GROUP.reduce_scatter(GROUP.all_gather(x)),
                GROUP.all_to_all(tf.ones([N, 3])),
            ]
            shapes.append([result.shape.as_list() for result in results])
            with tf.GradientTape() as tape:
                tape.watch(x)
                total = tf.reduce_sum(GROUP.all_gather(x))
            return [tf.shape(result) for result in results], tape.gradient(total, x)

        return STRATEGY.run(function)

    for rows in (2, 0):
        got, gradient = step(tf.ones([rows, 3]))
        got = [STRATEGY.experimental_local_results(each)[0].numpy().tolist() for each in got]
        assert got == [[rows, 3], [N * rows, 3], [rows, 3], [N, 3]], got
        gradient = STRATEGY.experimental_local_results(gradient)[0]
        assert gradient.shape == [rows, 3]
    assert shapes[0] == [[None, 3], [None, 3], [None, 3], [N, 3]], shapes
    empty = np.zeros((N, 0, 2), np.float32)
    compare(*all_of(empty, np.zeros((N, N, 0), np.float32)))


def check_bad_calls():
    ones = tf.ones([N + 1, 2])
    outside = "outside of strategy.run"
    raises(RuntimeError, f"all_gather is called {outside}", lambda: GROUP.all_gather(ones))
    raises(RuntimeError, f"rank is called {outside}", lambda: GROUP.rank)
    with STRATEGY.scope():
        raises(RuntimeError, outside, lambda: GROUP.all_reduce(ones))
    if N == 4:
        raises(ValueError, "size = 3 does not divide the 4 replicas", lambda: Group(STRATEGY, 3))
    raises(ValueError, f"size = {N + 1} is not a Python integer", lambda: Group(STRATEGY, N + 1))

    def in_replica():
        raises(ValueError, "dtype bool, expected one of", lambda: GROUP.all_reduce([True]))
        raises(ValueError, "expected [n, ...]", lambda: GROUP.all_gather(1.0))
        raises(ValueError, f"expected [{N}, ...]", lambda: GROUP.all_to_all(ones))
        raises(ValueError, f"[{N} * n, ...]", lambda: GROUP.reduce_scatter(ones))
        raises(
            ValueError,
            "op = 'mean' is not one of",
            lambda: GROUP.all_reduce(ones, "mean"),
        )
        slices = tf.IndexedSlices(ones, tf.range(N + 1))
        raises(ValueError, "expected a dense tensor", lambda: GROUP.all_reduce(slices))
        raises(RuntimeError, "made within strategy.run", lambda: Group(STRATEGY))
        return GROUP.rank

    def compiled():
        return STRATEGY.run(lambda: GROUP.all_reduce(ones))

    STRATEGY.run(in_replica)
    raises(RuntimeError, "leave jit_compile off", tf.function(compiled, jit_compile=True))
    if MIRRORED:
        inner = tf.function(lambda: GROUP.all_reduce(1.0), autograph=False)
        raises(
            RuntimeError,
            "put the tf.function around strategy.run",
            lambda: STRATEGY.run(lambda: inner()),
        )


WANTED = sys.argv[2:]
for name, check in list(globals().items()):
    if name.startswith("check_") and (not WANTED or name in WANTED):
        print(name, flush=True)
        check()
print("all checks passed", flush=True)

if MIRRORED:
    raises(
        tf.errors.InvalidArgumentError,
        "replicas came with batches of different sizes",
        lambda: run(lambda replica: GROUP.all_gather(tf.ones([3 + replica])), eager=True),
    )
    print("shapes differ", flush=True)
else:
    run(lambda replica: GROUP.all_gather(tf.ones([3 + replica])))
