"""Candidate samplers: which classes compete with the true ones, and how often each is expected.

A sampler is made once and asked for candidates at every step::

    sampler = fastw2v.samplers.Unigram(counts)
    values = sampler.sample(labels, num_sampled=64)

The result can be passed as ``sampled_values`` to this library's losses and to those of ``tf.nn``.
Draws are stateless: a pair of integers decides them, whatever the number of threads, and also in a
function that XLA compiles (``jit_compile=True``). There, arguments that raise an error elsewhere
give -1 for candidates and NaN for counts, and only a pair of integers decides a draw: XLA knows no
other seeds. See `fastw2v.samplers.composed`.
"""

from fastw2v.samplers.sampler import (
    LogUniform,
    SampledValues,
    Sampler,
    Uniform,
    Unigram,
    resolve,
)

__all__ = ["LogUniform", "SampledValues", "Sampler", "Uniform", "Unigram", "resolve"]
