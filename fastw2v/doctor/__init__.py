"""Why a gradient is None: the cause, the op and the line that did it.

This package needs TensorFlow only; it works where the compiled library of fastw2v is missing.
"""
