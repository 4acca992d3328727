"""The transport problem behind the Word Mover's Distance."""

from __future__ import annotations

import numpy as np


def transport_cost(supply: np.ndarray, demand: np.ndarray, costs: np.ndarray) -> float:
    """Returns the least cost of moving a supply to where it is asked for.

    Args:
        supply: How much there is at each place, ``[N]``.
        demand: How much is asked for at each place, ``[M]``, of the same sum.
        costs: Of moving a unit from one to the other, ``[N, M]``.

    Raises:
        ImportError: SciPy is not installed.

    Example:
        >>> transport_cost(np.array([0.5, 0.5]), np.array([1.0]), np.array([[2.0], [4.0]]))
        3.0
    """
    try:
        from scipy import sparse
        from scipy.optimize import linprog
    except ImportError as error:
        raise ImportError(
            "the Word Mover's Distance is found by SciPy, which is not installed: pip install scipy"
        ) from error
    rows, columns = costs.shape
    leaving = sparse.kron(sparse.eye(rows), np.ones((1, columns)))
    arriving = sparse.kron(np.ones((1, rows)), sparse.eye(columns))
    # The last equation follows from the others; rounded, it could contradict them.
    equations = sparse.vstack([leaving, arriving]).tocsr()[:-1]
    solution = linprog(costs.ravel(), A_eq=equations, b_eq=np.concatenate([supply, demand])[:-1])
    if solution.status != 0:
        raise ValueError(f"the transport problem was not solved: {solution.message}")
    return float(solution.fun)
