"""What else was possible: the best permitted action of each class, kept beside the decisions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from collectopt.policy.engine import Floats, Ints
from collectopt.schema.decisions import CANDIDATES

_MOST = 5  # actions kept of an account, the one taken included


def possible(  # noqa: PLR0917 - plain arrays of one block
    names: pa.Array, best: Floats, euros: Floats, action: Ints, taken: Ints, value: Floats
) -> pa.Array:
    """List the action taken, then the best of each class that is another one.

    Parameters
    ----------
    names : pyarrow.Array of string, (K,)
        Actions in words.
    best : ndarray (b, G)
        What the policy goes by; -inf = none permitted.
    euros : ndarray (b, G)
        The same in EUR relative to waiting; nan = not known.
    action : int array (b, G)
    taken : int array (b,)
    value : ndarray (b,)
        EUR of the action taken; nan = not known, and then of no other either.

    Returns
    -------
    pyarrow.Array of `CANDIDATES`, (b,)

    Examples
    --------
    >>> import numpy as np, pyarrow as pa
    >>> best = np.array([[0.0, 2.0, 3.0], [0.0, -np.inf, -np.inf]])
    >>> names, action = pa.array(["wait", "email", "phone"]), np.tile(np.arange(3), (2, 1))
    >>> found = possible(names, best, best, action, np.array([1, 0]), np.array([2.0, 0.0]))
    >>> [[one["action"] for one in each] for each in found.to_pylist()]
    [['email', 'phone', 'wait'], ['wait']]
    """
    b, width = len(taken), min(_MOST, best.shape[1] + 1)
    code, worth = np.zeros((b, width), dtype=np.int64), np.full((b, width), np.nan)
    code[:, 0], worth[:, 0] = taken, value
    others = np.isfinite(best) & (action != taken[:, None])
    some = np.flatnonzero(others.any(axis=1))  # most accounts of most books can but wait
    order = np.argsort(np.where(others[some], -best[some], np.inf), axis=1, kind="stable")
    order = order[:, : width - 1]
    known = np.where(np.isfinite(value[some, None]), euros[some], np.nan)
    code[some, 1:] = np.take_along_axis(action[some], order, axis=1)
    worth[some, 1:] = np.take_along_axis(known, order, axis=1)
    count = 1 + np.minimum(others.sum(axis=1), width - 1)
    kept = np.arange(width) < count[:, None]
    values = pa.array(worth[kept], pa.float64(), from_pandas=True)
    actions = names.take(pa.array(code[kept]))
    entries = pa.StructArray.from_arrays([actions, values], fields=list(CANDIDATES.value_type))
    return pa.ListArray.from_arrays(
        pa.array(np.r_[0, np.cumsum(count)], pa.int32()), entries, type=CANDIDATES
    )
