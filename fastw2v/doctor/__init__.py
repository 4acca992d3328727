"""Why a gradient is None: the cause, the op and the line that did it.

This package needs TensorFlow only; it works where the compiled library of fastw2v is missing.
Importing it imports no TensorFlow: the public names are found when they are first used.
"""

from __future__ import annotations

from fastw2v._core import lazy

# The packages inside, from the bottom to the top: each imports from itself and from those before
# it, and the modules beside this one import from all of them.
_LAYERS = (
    "program",  # the user's program as text
    "observe",  # what is noted while it runs
    "trace",  # how values lead to the loss, and gradients back
    "findings",  # what is concluded
    "report",  # what is shown
)
_HOMES = {
    "Finding": "fastw2v.doctor.findings.finding",
    "Place": "fastw2v.doctor.program.places",
    "Report": "fastw2v.doctor.report.report",
    "Step": "fastw2v.doctor.trace.steps",
    "Watch": "fastw2v.doctor.watching",
    "assert_gradients": "fastw2v.doctor.explaining",
    "explain": "fastw2v.doctor.explaining",
    "watch": "fastw2v.doctor.watching",
}

__all__ = list(_HOMES)
__getattr__, __dir__ = lazy.names(__name__, _HOMES)
