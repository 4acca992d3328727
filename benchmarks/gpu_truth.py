"""What the kernels that benchmarks/gpu.py times have to give, by PyTorch in float32."""

from __future__ import annotations

from typing import Any

# Largest error that is accepted, relative to the largest value compared with.
TOLERANCE = {"bfloat16": 2e-2, "float32": 1e-4}
# Gradients of so many classes that examples have as labels (and of sampled ones), and of the last
# ones, whose tile is a part of one, are compared.
_SOME, _LAST = 64, 200
# Entries of the largest matrix of logits that is stored.
_LOGITS = 2**28


class WrongResult(Exception):
    """Kernels gave something else than they have to."""


def faults(got: dict[str, Any], expected: dict[str, Any], tolerance: float) -> list[str]:
    """What is wrong with arrays (of PyTorch or NumPy), a phrase each: entries that are no number,
    and errors. Those that have to be numbers and no more have None in `expected`."""
    found = []
    for name, value in got.items():
        missing = int((value != value).sum())
        if missing:
            found.append(f"{missing} entries of {name} are NaN or were not written")
        elif (truth := expected[name]) is not None:
            error = float(abs(value - truth).max() / abs(truth).max())
            if not error <= tolerance:
                found.append(f"{name} is off by {error:.2g} of its largest value")
    return found


def checked_classes(torch: Any, case: Any, labels: Any, sampled: Any) -> Any:
    """The classes whose gradients `expected` has."""
    some = labels[:_SOME]
    if sampled is None:
        last = torch.arange(max(0, case.classes - _LAST), case.classes, device=labels.device)
        return torch.cat([some, last])
    return torch.cat([some, sampled[:_SOME], sampled.sort().values[-_LAST:]])


def expected(torch: Any, case: Any, inputs: tuple[Any, Any, Any, Any]) -> dict[str, Any]:
    """The losses, and the gradients of their mean: those of the hidden rows, and of the weights of
    `checked_classes`."""
    hidden, weights, labels, sampled = inputs
    scale = 1 / case.batch
    h = hidden.float()
    candidates = torch.arange(case.classes, device=labels.device) if sampled is None else sampled
    true_logit = (h * weights[labels].float()).sum(1)
    # Sums over all candidates, a block at a time. A label is one of all classes, and stands beside
    # sampled ones.
    log_sum = true_logit if case.sampled else torch.full_like(true_logit, -torch.inf)
    blocks = candidates.split(max(1, _LOGITS // case.batch))
    for block in blocks:
        part = torch.logsumexp(h @ weights[block].float().T, 1)
        log_sum = torch.logaddexp(log_sum, part)
    d_hidden = torch.zeros_like(h)
    for block in blocks:
        w = weights[block].float()
        d_hidden += torch.exp(h @ w.T - log_sum[:, None]) @ w
    # Of a label: its probability, where it is no candidate already, less 1.
    d_true = torch.full_like(true_logit, -1.0)
    if case.sampled:
        d_true += torch.exp(true_logit - log_sum)
    d_hidden += d_true[:, None] * weights[labels].float()
    checked = checked_classes(torch, case, labels, sampled)
    # A class competes as often as it was sampled.
    times = (checked[:, None] == candidates).sum(1) if case.sampled else torch.ones_like(checked)
    p = torch.exp(h @ weights[checked].float().T - log_sum[:, None]) * times
    p += d_true[:, None] * (labels[:, None] == checked)
    return {
        "loss": log_sum - true_logit,
        "d_hidden": scale * d_hidden,
        "d_weights": scale * (p.T @ h),
    }
