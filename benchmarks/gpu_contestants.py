"""Who takes part in benchmarks/gpu.py: our kernels, and other libraries with the same work.

A contestant is a function of the inputs' number that enqueues one pass.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from types import ModuleType
from typing import Any

import gpu_truth

Call = Callable[[int], None]

# Inputs take turns until they are together this many times as large as the second-level cache.
_CACHES = 4
_MAX_INPUTS = 8


class Arena:
    """The inputs of a case on the device, and its contestants."""

    def __init__(self, torch: Any, cuda: ModuleType, case: Any, compiled: bool = True) -> None:
        self.torch, self.cuda, self.case = torch, cuda, case
        self._compiled = compiled  # whether torch.compile takes part
        self.extra_bytes: dict[str, int] = {}
        dtype = getattr(torch, case.dtype)
        torch.manual_seed(0)
        table_bytes = dtype.itemsize * case.dim * (case.classes + case.batch)
        cache = torch.cuda.get_device_properties(0).L2_cache_size
        count = min(_MAX_INPUTS, 1 + _CACHES * cache // table_bytes)
        self._inputs = [self._make_inputs(dtype) for _ in range(count)]
        self._loss = [self._ours(*inputs) for inputs in self._inputs]
        self._made: dict[str, Call | None] = {}

    def _make_inputs(self, dtype: Any) -> tuple[Any, Any, Any, Any]:
        torch, case = self.torch, self.case
        hidden = torch.randn(case.batch, case.dim, device="cuda", dtype=dtype)
        weights = torch.randn(case.classes, case.dim, device="cuda", dtype=dtype)
        weights /= case.dim**0.5
        labels = torch.randint(case.classes, (case.batch,), device="cuda")
        sampled = None
        if case.sampled:
            sampled = torch.randint(case.classes, (case.sampled,), device="cuda")
        return hidden, weights, labels, sampled

    def _ours(self, hidden: Any, weights: Any, labels: Any, sampled: Any) -> Any:
        kind = "SampledLoss" if self.case.sampled else "ExactLoss"
        options = {"sampled": sampled} if self.case.sampled else {}
        make = getattr(self.cuda, f"{kind}_{self.case.dtype}")
        return make(hidden, weights, None, labels.reshape(-1, 1), **options)

    # ---- our kernels

    def _results(self) -> dict[str, Any]:
        """Memory for all results and scratch, shared by all inputs."""
        torch, case, loss = self.torch, self.case, self._loss[0]
        dtype = getattr(torch, case.dtype)

        def empty(*shape: int, dtype: Any = torch.float32) -> Any:
            return torch.empty(shape, dtype=dtype, device="cuda")

        results = {
            "loss": empty(case.batch),
            "max": empty(case.batch),
            "log_sum": empty(case.batch),
            "d_loss": torch.full((case.batch,), 1 / case.batch, device="cuda"),
            "d_hidden": empty(case.batch, case.dim),
            "scratch": empty(loss.scratch_bytes(), dtype=torch.uint8),
        }
        if case.sampled:
            results["rows"] = empty(loss.row_capacity(), dtype=torch.int64)
            results["d_weights"] = empty(loss.row_capacity(), case.dim, dtype=dtype)
        else:
            results["d_weights"] = empty(case.classes, case.dim, dtype=dtype)
        self.extra_bytes["fastw2v"] = results["scratch"].numel() + 8 * case.batch
        return results

    def _our_calls(self) -> dict[str, Call]:
        if not hasattr(self, "_memory"):
            self._memory = self._results()
        m, losses = self._memory, self._loss
        stream = self.torch.cuda.current_stream().cuda_stream
        sums = (m["loss"], m["max"], m["log_sum"])
        gradients = [m["d_hidden"], *([m["rows"]] if "rows" in m else []), m["d_weights"], None]

        def forward(i: int) -> None:
            losses[i % len(losses)].forward(*sums, m["scratch"], stream=stream)

        def backward(i: int) -> None:
            losses[i % len(losses)].backward(
                m["d_loss"], *sums[1:], *gradients, m["scratch"], stream=stream
            )

        def step(i: int) -> None:
            losses[i % len(losses)].forward_backward(
                m["d_loss"], *sums, *gradients, m["scratch"], stream=stream
            )

        return {"forward": forward, "backward": backward, "step": step}

    def our_step(self) -> Call:
        return self._our_calls()["step"]

    def compare(self) -> None:
        """Raises WrongResult where our loss and gradients of the first inputs are not PyTorch's."""
        torch, case = self.torch, self.case
        labels, sampled = self._inputs[0][2:]
        calls = self._our_calls()
        m = self._memory
        expected = gpu_truth.expected(torch, case, self._inputs[0]) | {"all of d_weights": None}
        checked = gpu_truth.checked_classes(torch, case, labels, sampled)
        found = []
        for names in (("forward", "backward"), ("step",)):
            for name in ("loss", "d_hidden", "d_weights"):
                m[name].fill_(torch.nan)
            for name in names:
                calls[name](0)
            d_weights = m["d_weights"]
            if sampled is None:
                d_checked = d_weights[checked].float()
            else:  # rows of the table that are named, maybe several times
                d_checked = (checked[:, None] == m["rows"]).float() @ d_weights.float()
            got = {
                "loss": m["loss"],
                "d_hidden": m["d_hidden"],
                "all of d_weights": d_weights,
                "d_weights": d_checked,
            }
            for fault in gpu_truth.faults(got, expected, gpu_truth.TOLERANCE[case.dtype]):
                found.append(f"{' and '.join(names)}: {fault}")
        if found:
            raise gpu_truth.WrongResult("; ".join(found))

    # ---- the others

    def calls(self, part: str) -> dict[str, Call]:
        """The contestants of a pass, each run once already; those that fail are named and left
        out."""
        contestants: dict[str, Call] = {"fastw2v": self._our_calls()[part]}
        if part != "backward":
            for name, loss in self._peers().items():
                contestants[name] = self._peer_call(loss, part)
        working = {}
        for name, call in contestants.items():
            if self._works(name, call, part):
                working[name] = call
        return working

    def _works(self, name: str, call: Call, part: str) -> bool:
        torch = self.torch
        try:
            torch.cuda.synchronize()
            call(0)
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            call(1)
            torch.cuda.synchronize()
        except Exception as error:  # another library may fail in any way: memory, shapes, versions
            reason = str(error).strip().splitlines() or [type(error).__name__]
            print(f"not measured: {name}, {part} of {self.case}: {reason[0][:200]}", flush=True)
            self._drop_gradients()
            torch.cuda.empty_cache()
            return False
        if name != "fastw2v":
            peak = torch.cuda.max_memory_allocated() - before
            hidden, weights, *_ = self._inputs[0]
            results = hidden.nbytes + weights.nbytes if part == "step" else 0
            self.extra_bytes[name] = max(0, peak - results)
        self._drop_gradients()
        return True

    def _drop_gradients(self) -> None:
        for hidden, weights, *_ in self._inputs:
            hidden.grad = weights.grad = None

    def _peer_call(self, loss: Callable[..., Any], part: str) -> Call:
        torch, inputs = self.torch, self._inputs

        def forward(i: int) -> None:
            with torch.no_grad():
                loss(*inputs[i % len(inputs)])

        def step(i: int) -> None:
            hidden, weights, labels, sampled = inputs[i % len(inputs)]
            hidden.grad = weights.grad = None
            hidden.requires_grad_(), weights.requires_grad_()
            loss(hidden, weights, labels, sampled).backward()
            hidden.grad = weights.grad = None
            hidden.requires_grad_(False), weights.requires_grad_(False)

        return forward if part == "forward" else step

    def _peers(self) -> dict[str, Callable[..., Any]]:
        """The mean loss of (hidden, weights, labels, sampled) by each library that is there."""
        if not hasattr(self, "_found"):
            peers = _sampled_peers if self.case.sampled else _exact_peers
            self._found = peers(self.torch, self._compiled)
        return self._found


class Updates:
    """The same for a step of Adagrad on some rows of a table."""

    _NUMBERS = {"learning_rate": 0.01, "epsilon": 1e-7}

    def __init__(self, torch: Any, cuda: ModuleType, case: Any, compiled: bool = True) -> None:
        self.torch, self.case = torch, case
        self.extra_bytes = {"fastw2v": 0}
        dtype = getattr(torch, case.dtype)
        torch.manual_seed(0)
        self._weights = torch.randn(case.classes, case.dim, device="cuda", dtype=dtype)
        self._slot = torch.full_like(self._weights, 0.1)
        self._steps = []
        for _ in range(_MAX_INPUTS):
            rows = torch.randperm(case.classes, device="cuda")[: case.batch].sort().values
            self._steps.append(
                (rows, torch.randn(case.batch, case.dim, device="cuda", dtype=dtype))
            )
        self._ours = getattr(cuda, f"Optimizer_{case.dtype}")(
            "adagrad", self._weights, [self._slot]
        )

    def our_step(self) -> Call:
        return self._our_step

    def _our_step(self, i: int) -> None:
        rows, values = self._steps[i % len(self._steps)]
        stream = self.torch.cuda.current_stream().cuda_stream
        self._ours.update_rows(rows, values, self._NUMBERS, stream=stream)

    def compare(self) -> None:
        """Raises WrongResult where our first step is not the formula's."""
        rows, values = self._steps[0]
        before, slot = self._weights[rows].float(), self._slot[rows].float() + values.float() ** 2
        expected = before - self._NUMBERS["learning_rate"] * values.float() / (slot + 1e-7).sqrt()
        self._our_step(0)
        found = gpu_truth.faults(
            {"weights": self._weights[rows].float(), "all weights": self._weights},
            {"weights": expected, "all weights": None},
            gpu_truth.TOLERANCE[self.case.dtype],
        )
        if found:
            raise gpu_truth.WrongResult("; ".join(found))

    def calls(self, part: str) -> dict[str, Call]:
        if part != "step":
            return {}
        torch, weights, steps = self.torch, self._weights, self._steps
        optimizer = torch.optim.Adagrad([weights], lr=0.01)
        gradients = [
            torch.sparse_coo_tensor(rows[None], values, weights.shape, is_coalesced=True)
            for rows, values in steps
        ]

        def peer(i: int) -> None:
            weights.grad = gradients[i % len(gradients)]
            optimizer.step()

        self._our_step(0)
        contestants = {"fastw2v": self._our_step}
        try:
            peer(0)
            contestants["torch.optim"] = peer
        except Exception as error:  # as above
            print(f"not measured: torch.optim of {self.case}: {error}", flush=True)
        return contestants


def _compile(torch: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """As a user with inputs of one size has it: what was compiled for the sizes of other cases
    would lead to code for sizes that vary, and after a few of them to none."""
    torch._dynamo.reset()
    return torch.compile(function, dynamic=False)


def _exact_peers(torch: Any, compiled: bool) -> dict[str, Callable[..., Any]]:
    functional = torch.nn.functional

    def eager(hidden, weights, labels, _):
        return functional.cross_entropy(functional.linear(hidden, weights).float(), labels)

    peers = {"torch": eager}
    if compiled:
        peers["torch.compile"] = _compile(torch, eager)
    if importlib.util.find_spec("liger_kernel") is not None:
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        liger = LigerFusedLinearCrossEntropyLoss()
        peers["liger"] = lambda h, w, labels, _: liger(w, h, labels)
    if importlib.util.find_spec("cut_cross_entropy") is not None:
        from cut_cross_entropy import linear_cross_entropy

        peers["cut-cross-entropy"] = lambda h, w, labels, _: linear_cross_entropy(h, w, labels)
    if importlib.util.find_spec("quack") is not None:
        from quack.linear_cross_entropy import chunked_linear_cross_entropy

        peers["quack"] = lambda h, w, labels, _: chunked_linear_cross_entropy(
            h, w, labels, reduction="mean"
        )
    return peers


def _sampled_peers(torch: Any, compiled: bool) -> dict[str, Callable[..., Any]]:
    functional = torch.nn.functional

    def composition(hidden, weights, labels, sampled):
        true = functional.embedding(labels, weights, sparse=True)
        some = functional.embedding(sampled, weights, sparse=True)
        true_logit = (hidden * true).sum(1, keepdim=True)
        logits = torch.cat([true_logit, hidden @ some.T], 1).float()
        return functional.cross_entropy(logits, torch.zeros_like(labels))

    peers = {"torch": composition}
    if compiled:
        peers["torch.compile"] = _compile(torch, composition)
    return peers
