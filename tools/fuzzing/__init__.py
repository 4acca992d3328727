"""The subjects of `tools/fuzz.py`: what is tried at random, one subject a module.

A module has a function ``case(case: harness.Case)`` that makes one random trial and raises an
exception where something is wrong, and says what a trial may cost: ``SECONDS`` and ``MEGABYTES``.
"""
