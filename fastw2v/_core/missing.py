"""What to run where something that the package needs is missing."""

from __future__ import annotations

from importlib.util import find_spec

from fastw2v._core import supported

LIBRARY = (
    "fastw2v's compiled op library is missing: run `pip install .` in its source tree "
    "(and import fastw2v from another directory than that one)"
)
_TENSORFLOW = (
    "fastw2v needs TensorFlow, which is not installed: run "
    f'`pip install "{supported.newest()}"`, or the same of tensorflow[and-cuda] for GPUs'
)
_KERAS = "fastw2v needs Keras 3, which is not installed: run `pip install keras`"
_OTHER_BACKEND = (
    'KERAS_BACKEND asks for Keras on "{name}", which is not installed; fastw2v needs Keras on '
    "TensorFlow: set KERAS_BACKEND=tensorflow"
)


def sentence(error: ImportError) -> str:
    """What to say of an import that failed: of TensorFlow or Keras what to do, else its message."""
    if not isinstance(error, ModuleNotFoundError):
        return str(error)
    if error.name == "keras" and _is_installed("tensorflow"):
        return _KERAS
    if error.name in ("tensorflow", "keras"):  # Keras comes with TensorFlow
        return _TENSORFLOW
    if error.name in ("jax", "torch", "openvino"):
        return _OTHER_BACKEND.format(name=error.name)
    return str(error)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ValueError:  # it is in sys.modules without a specification
        return False
