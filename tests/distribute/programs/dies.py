"""The second worker is killed while the first waits for it in a collective."""

import os
import signal
import time

import tensorflow as tf

from fastw2v.distribute import Group

STRATEGY = tf.distribute.MultiWorkerMirroredStrategy()
GROUP = Group(STRATEGY)


def step():
    return STRATEGY.run(lambda: GROUP.all_reduce(tf.ones([2])))


print(step().numpy().tolist(), flush=True)
if STRATEGY.cluster_resolver.task_id == 1:
    time.sleep(1)
    print("dies at", time.time(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
tf.function(step, autograph=False)()
