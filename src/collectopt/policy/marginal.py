"""The marginal value of a contact: a value function of the state, with the contact and without."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from collectopt.exceptions import NotFittedError
from collectopt.features import FeatureMatrix, compute
from collectopt.models.boosting import TreeOptions, Trees, expit, logit
from collectopt.policy.base import Policy
from collectopt.policy.engine import ALL, Bools, Case, Details, Floats, Ints, Rows
from collectopt.policy.panel import decision_panel
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.log import DecisionLog
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

Matrix = NDArray[np.float32]
_ROWS = 200  # fewest logged decisions to learn from
_FACTORS = ("channel", "tone", "offer", "hour", "day")
_CATEGORICAL = (0, 2)  # of the factors
_STATE = TreeOptions(rounds=100, rate=0.08)
_ACTION = TreeOptions(rounds=40, rate=0.1, leaves=8)
_CONTEXT = 8  # features of the state that the effect of an action may depend on
_HISTORY = ("contacts_30", "days_since_contact")


class MarginalValue(Policy):
    """Rank contacts by what they add to a predicted value, as of van de Geer et al. (2018).

    The value of a state is V(s, a) = P(everything past due is settled within the horizon), where s
    holds the features of the account, its contacts so far among them, and a is what is done now;
    boosted trees learn it from the log as it is. A contact is worth (V(s, a) - V(s, wait)) times
    the open amount, less its cost; limits are kept by joint choice.

    This is the strongest published rival that needs no experiment, and it reads an effect off a
    prediction: where the log's policy knew more than the features say, the difference is biased,
    and where it did not, no propensity helps to make it sharper.

    A prediction of the outcome by one set of trees all but ignores the action, whose effect is
    small beside the state's. So the trees come in two stages: first of the state, then, on top of
    the first, of the action together with the contacts so far and the few features that tell most.

    Parameters
    ----------
    catalogue : Catalogue
    rules : Rules or None
        None takes those of the catalogue.

    References
    ----------
    van de Geer, Wang and Bhulai (2018), Data-driven consumer debt collection via machine learning
    and approximate dynamic programming. There the actions are telephone calls under
    a daily limit; here they are those of the catalogue.

    Examples
    --------
    >>> from collectopt import Catalogue
    >>> from collectopt.simulation import Book
    >>> book = Book("shop", accounts=300, seed=0, weeks=20)
    >>> policy = MarginalValue(book.catalogue).fit(book.ledger(), book.as_of)
    >>> len(policy.decide(book.ledger(), book.as_of).to_pandas()) > 0
    True
    """

    kind: ClassVar[str] = "marginal_value"

    def __init__(self, catalogue: Catalogue, rules: Rules | None = None) -> None:
        super().__init__(catalogue, rules)
        self.value_: Value | None = None

    def __repr__(self) -> str:
        return "MarginalValue()"

    @property
    def value(self) -> Value:
        """The value function.

        Raises
        ------
        NotFittedError
        """
        if self.value_ is None:
            raise NotFittedError.of(self, "value")
        return self.value_

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from what was known before ``as_of``.

        A book with fewer than 200 logged decisions whose outcome is over, or without contacts or
        waits among them, teaches nothing: then everybody waits.

        Raises
        ------
        InputError
        """
        moment = to_instant(as_of, self.catalogue.timezone)
        horizon = f"{self.catalogue.horizon_days}D"
        log, matrix, _ = decision_panel(ledger, moment, horizon=horizon, catalogue=self.catalogue)
        self.value_ = Value.learn(log, matrix)
        with tempfile.TemporaryDirectory() as folder:
            self._save_models(Path(folder))
            self._seal(Path(folder))
        return self

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        return _MarginalCase(self.value, snapshot, state, self.catalogue.actions), {}

    def _content(self) -> dict[str, Any]:
        return {}

    def _save_models(self, folder: Path) -> None:
        self.value.save(folder)


@dataclass(frozen=True)
class Value:
    """P(everything past due is settled within the horizon | state, action).

    Attributes
    ----------
    names, categories
        Features of the state, as :func:`collectopt.features.compute` wants them.
    base : float
        Log odds that the trees add to.
    context : tuple of int
        Features that the trees of the action see.
    state, action : Trees or None
        None: nothing was learnt.
    rows : int
        Logged decisions learnt from.
    """

    names: tuple[str, ...]
    categories: Mapping[str, tuple[str, ...]]
    base: float
    context: tuple[int, ...]
    state: Trees | None
    action: Trees | None
    rows: int

    @classmethod
    def learn(cls, log: DecisionLog, matrix: FeatureMatrix) -> Value:
        """Fit the trees on the logged decisions whose outcome is over."""
        kept = np.flatnonzero(log.observed)
        names, categories = matrix.names, dict(matrix.categories)
        reward, contact = log.reward[kept], log.actions.is_contact[log.action[kept]]
        if len(kept) < _ROWS or len(np.unique(reward)) < 2 or len(np.unique(contact)) < 2:
            return cls(names, categories, 0.0, (), None, None, len(kept))
        X = np.ascontiguousarray(matrix.values[kept])
        base = float(logit(np.array([reward.mean()]))[0])
        before = np.full(len(kept), base)
        state = Trees.fit(
            X, reward, options=_STATE, base=before, categorical=list(matrix.categorical)
        )
        context = _context(state, names)
        categorical = [
            *_CATEGORICAL,
            *(len(_FACTORS) + j for j, c in enumerate(context) if c in set(matrix.categorical)),
        ]
        action = Trees.fit(
            np.column_stack([action_factors(log.actions)[log.action[kept]], X[:, context]]),
            reward,
            options=_ACTION,
            base=before + state.score(X),
            categorical=categorical,
        )
        return cls(names, categories, base, context, state, action, len(kept))

    def of_state(self, X: Matrix) -> Floats:
        """Log odds by the state alone, (n,)."""
        return self.base + (np.zeros(len(X)) if self.state is None else self.state.score(X))

    def of_actions(self, X: Matrix, factors: Matrix) -> Floats:
        """Log odds that each of m actions, rows of factors, adds to that, (n, m)."""
        n, m = len(X), len(factors)
        if self.action is None:
            return np.zeros((n, m))
        rows = np.empty((n * m, len(_FACTORS) + len(self.context)), dtype=np.float32)
        rows[:, : len(_FACTORS)] = np.tile(factors, (n, 1))
        rows[:, len(_FACTORS) :] = np.repeat(X[:, self.context], m, axis=0)
        return self.action.score(rows).reshape(n, m)

    def save(self, folder: Path) -> None:
        """Write ``value.json`` and the trees' text into a folder."""
        content = {
            "names": self.names,
            "categories": self.categories,
            "base": self.base,
            "context": self.context,
            "rows": self.rows,
        }
        (folder / "value.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        for name, trees in (("state", self.state), ("action", self.action)):
            text = "" if trees is None else trees.to_text()
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Value:
        """Read what `save` wrote."""
        content = json.loads((folder / "value.json").read_text(encoding="utf-8"))
        texts = [(folder / f"{name}.txt").read_text(encoding="utf-8") for name in _STAGES]
        state, action = (Trees.from_text(text) if text else None for text in texts)
        return cls(
            names=tuple(content["names"]),
            categories={name: tuple(of) for name, of in content["categories"].items()},
            base=float(content["base"]),
            context=tuple(content["context"]),
            state=state,
            action=action,
            rows=int(content["rows"]),
        )


_STAGES = ("state", "action")


def _context(trees: Trees, names: tuple[str, ...]) -> tuple[int, ...]:
    """Contacts so far, and the features that gain most."""
    history = [names.index(name) for name in _HISTORY if name in names]
    best = [int(c) for c in np.argsort(-trees.gains(), kind="stable") if c not in history]
    return tuple(sorted([*history, *best[: _CONTEXT - len(history)]]))


def action_factors(actions: ActionSet) -> Matrix:
    """Factors of each action as trees see them, (K, 5); waiting has none."""
    hour = np.nan_to_num(actions.hour, nan=-1.0)
    columns = (actions.channel, actions.tone, actions.offer, hour, actions.day)
    return np.stack(columns, axis=1).astype(np.float32)


class _MarginalCase(Case):
    """Scores of the distinct actions of accounts with something past due.

    An action is scored as one of today, whatever its day, so that accounts x actions stays small.
    """

    def __init__(self, value: Value, snapshot: Snapshot, state: State, actions: ActionSet) -> None:
        self.value, self.state, self.actions = value, state, actions
        factors = action_factors(actions)
        factors[actions.is_contact, _FACTORS.index("day")] = 0
        self.cells, cell = np.unique(factors, axis=0, return_inverse=True)
        self.cell: Ints = cell.reshape(-1).astype(np.int64)
        self.X = compute(snapshot, value.names, value.categories).values

    @cached_property
    def late(self) -> Ints:
        """Position of each account among those with something past due, -1 = none."""
        return np.where(self.state.past_due, np.cumsum(self.state.past_due) - 1, -1)

    @cached_property
    def p(self) -> Floats:
        """V of each account past due and distinct action."""
        X = self.X[self.state.past_due]
        return expit(self.value.of_state(X)[:, None] + self.value.of_actions(X, self.cells))

    def values(self, rows: Rows, columns: Rows = ALL) -> Floats:
        """Marginal value of each action in EUR, less its cost; -inf where nothing is past due."""
        late, amount = self.late[rows], self.state.open_amount[rows, None]
        mine = np.flatnonzero(late >= 0)
        p = self.p[late[mine]]
        gain = p - p[:, [self.cell[0]]]
        cost = self.actions.cost[columns]
        values = np.full((len(late), len(cost)), -np.inf)
        values[mine] = (gain * amount[mine])[:, self.cell[columns]] - cost
        values[:, ~self.actions.is_contact[columns]] = -np.inf
        return values

    def details(self, rows: slice, action: Ints) -> Details:
        """Report V with the action and without."""
        late, amount = self.late[rows], self.state.open_amount[rows]
        p_pay, p_wait = np.full(len(late), np.nan), np.full(len(late), np.nan)
        mine = np.flatnonzero(late >= 0)
        p_pay[mine] = self.p[late[mine], self.cell[action[mine]]]
        p_wait[mine] = self.p[late[mine], self.cell[0]]
        value = np.where(action > 0, (p_pay - p_wait) * amount - self.actions.cost[action], 0.0)
        return Details(p_pay, p_wait, p_pay * amount, value)
