"""A world so small that dynamic programming gives its optimum exactly.

One claim, two types of customer, two actions (wait, contact), some periods. It exists to test
everything else against: values of policies without simulation, the best policy without learning,
effects of actions without estimation.

The type may be hidden behind a noisy signal. While the claim is open nothing else is observed, so
what a history tells about the type depends on it only through the periods past due and the number
of contacts: the belief takes finitely many values and the hidden world is solved as exactly as the
observed one (Smallwood and Sondik, Operations Research 21(5), 1973, with the beliefs enumerated).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from collectopt.exceptions import Fault, InputError
from collectopt.schema import ActionSet, DecisionLog

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
Rule = Callable[[IntArray, IntArray, IntArray], npt.ArrayLike]
NAMES = ("signal", "period", "contacts")


@dataclass(frozen=True, eq=False)
class Optimum:
    """Solution of an `ExactWorld`; tables over (signal, period, contacts so far).

    Attributes
    ----------
    value : float
        Expected discounted EUR a claim under the best policy.
    contact : (2, T, T) bool
        Where the best policy contacts; it waits on ties, and where contacts > period, which
        cannot happen.
    action_values : (2, T, T, 2) float64
        EUR from here on of waiting and of contacting now, the best policy afterwards.
    """

    value: float
    contact: BoolArray
    action_values: FloatArray


@dataclass(frozen=True, eq=False)
class Trajectories:
    """n simulated claims of an `ExactWorld` over T periods.

    Attributes
    ----------
    type, signal : (n,) int64
        What the customer is, and what is seen of it.
    action : (n, T) int64
        0 = wait, 1 = contact, -1 = the claim was paid or the customer gone.
    contacts : (n, T) int64
        Contacts before the decision.
    propensity : (n, T) float64
        Probability with which exactly this action was chosen; 1 after the end.
    reward : (n, T) float64
        EUR of the period, not discounted: cash - contact cost - lifetime value lost.
    discount : float
        Factor a period.
    """

    type: IntArray
    signal: IntArray
    action: IntArray
    contacts: IntArray
    propensity: FloatArray
    reward: FloatArray
    discount: float

    @cached_property
    def to_go(self) -> FloatArray:
        """Discounted EUR from each decision on, (n, T)."""
        result = self.reward.copy()
        for period in range(result.shape[1] - 2, -1, -1):
            result[:, period] += self.discount * result[:, period + 1]
        return result

    @property
    def returns(self) -> FloatArray:
        """Discounted EUR of each claim, (n,)."""
        start: FloatArray = self.to_go[:, 0]
        return start


@dataclass(frozen=True)
class ExactWorld:
    """One claim, two types, two actions: solved exactly.

    In every period the claim is paid with probability ``pay[type]``, under a contact with
    ``pay[type] + lift[type] / (1 + fatigue * contacts so far)``; under a contact the customer
    leaves with probability ``leave[type]``, which ends the claim unpaid and loses the lifetime
    value; otherwise it stays open. After the last period it is written off.

    A policy is a table that broadcasts to (2, T, T), or a callable of the integer arrays (signal,
    period, contacts), that gives the probability to contact.

    Parameters
    ----------
    share : float
        Share of customers of type 1.
    accuracy : float
        Probability that the signal names the true type; 1 = types are observed, 0.5 = hidden.
    pay, lift, leave : tuple of float
        Probabilities a period by type.
    fatigue : float
        How fast contacts wear out.
    amount, cost, lifetime_value : float
        EUR of the claim, of a contact, of a customer lost.
    discount : float
        Factor a period.
    periods : int
        T, 1 to 60.

    Raises
    ------
    InputError
        Lists every parameter out of range.

    Examples
    --------
    >>> world = ExactWorld(periods=6)
    >>> best = world.solve()
    >>> always, never = world.value(1.0), world.value(0.0)
    >>> best.value > max(always, never)
    True
    >>> world.log(3, 0, policy=0.5).names
    ('signal', 'period', 'contacts')

    References
    ----------
    Chehrazi, Glynn and Weber, Management Science 65(6), 2019: the best policy acts below a
    threshold of the intensity of paying that rises with the balance; so does the one found here.
    """

    share: float = 0.4
    accuracy: float = 0.8
    pay: tuple[float, float] = (0.35, 0.08)
    lift: tuple[float, float] = (0.05, 0.12)
    leave: tuple[float, float] = (0.01, 0.004)
    fatigue: float = 0.5
    amount: float = 80.0
    cost: float = 1.2
    lifetime_value: float = 60.0
    discount: float = 0.98
    periods: int = 8

    def __post_init__(self) -> None:
        faults = [
            Fault("ExactWorld", name, expected, repr(getattr(self, name)))
            for name, expected, good in self._checks()
            if not good
        ]
        if faults:
            raise InputError(faults)

    def _checks(self) -> Iterator[tuple[str, str, bool]]:
        for name in ("share", "discount"):
            yield name, "from 0 to 1", 0 <= getattr(self, name) <= 1
        yield "accuracy", "from 0.5 to 1", 0.5 <= self.accuracy <= 1
        for name in ("fatigue", "amount", "cost", "lifetime_value"):
            value = getattr(self, name)
            yield name, "0 or more", value >= 0 and math.isfinite(value)
        periods: Any = self.periods
        whole = isinstance(periods, int | np.integer) and bool(1 <= periods <= 60)
        yield "periods", "a whole number from 1 to 60", whole
        for name in ("pay", "lift", "leave"):
            values = getattr(self, name)
            good = len(values) == 2 and all(0 <= value <= 1 for value in values)
            yield name, "two probabilities", good
        total = [sum(parts) for parts in zip(self.pay, self.lift, self.leave, strict=False)]
        yield "pay", "pay + lift + leave at most 1", all(value <= 1 + 1e-12 for value in total)

    @cached_property
    def actions(self) -> ActionSet:
        """Wait (0) and contact (1)."""
        return ActionSet.from_frame([{"channel": "none"}, {"channel": "contact"}])

    @cached_property
    def outcomes(self) -> FloatArray:
        """P(paid, left, open | type, contacts, action), shape (2, T, 2, 3)."""
        tired = 1.0 + self.fatigue * np.arange(self.periods)
        result = np.empty((2, self.periods, 2, 3))
        result[..., 0] = np.array(self.pay)[:, None, None]
        result[:, :, 1, 0] += np.array(self.lift)[:, None] / tired
        result[..., 1] = np.array(self.leave)[:, None, None] * np.arange(2)
        result[..., 2] = np.maximum(1.0 - result[..., 0] - result[..., 1], 0.0)
        return result

    @cached_property
    def _joint(self) -> FloatArray:
        """P(type, signal), shape (2, 2)."""
        shares = np.array([1.0 - self.share, self.share])
        right, wrong = self.accuracy, 1.0 - self.accuracy
        result: FloatArray = shares[:, None] * np.array([[right, wrong], [wrong, right]])
        return result

    @cached_property
    def signals(self) -> FloatArray:
        """P(signal), shape (2,)."""
        result: FloatArray = self._joint.sum(axis=0)
        return result

    @cached_property
    def belief(self) -> FloatArray:
        """P(type 1 | signal, periods past due, contacts, still open), shape (2, T, T).

        Where that history has probability 0, the overall share of type 1.
        """
        steps = np.arange(self.periods)
        waits = np.maximum(steps[:, None] - steps, 0)
        survived = np.cumprod(self.outcomes[:, :, 1, 2], axis=1)
        contacted = np.concatenate([np.ones((2, 1)), survived[:, :-1]], axis=1)
        still_open = self.outcomes[:, :1, 0, 2, None] ** waits * contacted[:, None, :]
        weight = self._joint[:, :, None, None] * still_open[:, None]
        total = weight.sum(axis=0)
        safe = np.where(total > 0, total, 1.0)
        result: FloatArray = np.where(total > 0, weight[1] / safe, self.share)
        return result

    def probability(self, policy: npt.ArrayLike | Rule) -> FloatArray:
        """Tabulate a policy: the probability to contact, shape (2, T, T).

        Raises
        ------
        InputError
            The shape does not fit, or a value is no probability.
        """
        steps = np.arange(self.periods)
        states = np.meshgrid(np.arange(2), steps, steps, indexing="ij")
        given = policy(states[0], states[1], states[2]) if callable(policy) else policy
        shape = states[0].shape
        found = np.asarray(given, dtype=np.float64)
        try:
            table = np.broadcast_to(found, shape)
        except ValueError:
            text = f"shape {found.shape}"
            raise InputError.of("policy", None, expected=f"shape {shape}", found=text) from None
        if not ((table >= 0) & (table <= 1)).all():
            raise InputError.of("policy", None, expected="probabilities", found="values outside")
        return table

    def _backward(self, choose: Callable[[int, FloatArray], FloatArray]) -> FloatArray:
        """Values of both actions, (2, T, T, 2), where `choose` turns those of a period into one."""
        gain = self.amount * self.outcomes[..., 0] - self.lifetime_value * self.outcomes[..., 1]
        gain = gain - self.cost * np.arange(2)
        later = np.zeros((2, self.periods + 1))
        result = np.empty((2, self.periods, self.periods, 2))
        for period in range(self.periods - 1, -1, -1):
            of = np.stack([1.0 - self.belief[:, period], self.belief[:, period]])[..., None]
            now = (of * gain[:, None]).sum(axis=0)
            stay = (of * self.outcomes[:, None, :, :, 2]).sum(axis=0)
            ahead = np.stack([later[:, :-1], later[:, 1:]], axis=-1)
            result[:, period] = now + self.discount * stay * ahead
            later[:, :-1] = choose(period, result[:, period])
        return result

    def solve(self) -> Optimum:
        """Find the best policy by backward induction."""
        values = self._backward(lambda _, both: both.max(axis=-1))
        steps = np.arange(self.periods)
        margin = 1e-12 * max(1.0, self.amount)
        contact = values[..., 1] > values[..., 0] + margin
        contact &= steps <= steps[:, None]
        start = values[:, 0, 0].max(axis=-1)
        return Optimum(float(self.signals @ start), contact, values)

    def action_values(self, policy: npt.ArrayLike | Rule) -> FloatArray:
        """EUR from here on of each action now and the policy afterwards, (2, T, T, 2)."""
        chance = self.probability(policy)
        return self._backward(
            lambda t, both: both[..., 0] + chance[:, t] * (both[..., 1] - both[..., 0])
        )

    def value(self, policy: npt.ArrayLike | Rule) -> float:
        """Give the expected discounted EUR a claim under a policy, exactly."""
        chance = self.probability(policy)[:, 0, 0]
        both = self.action_values(policy)[:, 0, 0]
        return float(self.signals @ (both[:, 0] + chance * (both[:, 1] - both[:, 0])))

    def play(
        self, n: int, rng: int | np.random.Generator, policy: npt.ArrayLike | Rule
    ) -> Trajectories:
        """Simulate n claims under a policy."""
        rng = np.random.default_rng(rng)
        chance = self.probability(policy)
        of = (rng.random(n) < self.share).astype(np.int64)
        signal = np.where(rng.random(n) < self.accuracy, of, 1 - of)
        shape = (n, self.periods)
        action, contacts = np.full(shape, -1), np.zeros(shape, dtype=np.int64)
        propensity, reward = np.ones(shape), np.zeros(shape)
        still, count = np.ones(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)
        for period in range(self.periods):
            p = chance[signal, period, count]
            chosen = (rng.random(n) < p).astype(np.int64)
            odds = self.outcomes[of, count, chosen]
            draw = rng.random(n)
            paid = draw < odds[:, 0]
            left = ~paid & (draw < odds[:, 0] + odds[:, 1])
            euro = self.amount * paid - self.lifetime_value * left - self.cost * chosen
            action[:, period] = np.where(still, chosen, -1)
            contacts[:, period] = count
            propensity[:, period] = np.where(still, np.where(chosen == 1, p, 1.0 - p), 1.0)
            reward[:, period] = np.where(still, euro, 0.0)
            count = np.minimum(count + (chosen & still), self.periods - 1)
            still &= ~paid & ~left
        return Trajectories(of, signal, action, contacts, propensity, reward, self.discount)

    def log(
        self,
        n: int,
        rng: int | np.random.Generator,
        policy: npt.ArrayLike | Rule,
        *,
        to_go: bool = False,
    ) -> DecisionLog:
        """Simulate n claims and log their decisions, with exact propensities.

        Parameters
        ----------
        n : int
            Claims; one makes 1 to T rows, `account` says which.
        rng : int or Generator
        policy : array-like or callable
            Probability to contact, see the class.
        to_go : bool
            False: the reward is that of the period. True: discounted EUR from the decision on,
            whose mean given X and action is ``action_values(policy)``.

        Returns
        -------
        DecisionLog
            X has the columns signal, period, contacts; row 0 of the actions is to wait.
        """
        played = self.play(n, rng, policy)
        claim, period = np.nonzero(played.action >= 0)
        taken: dict[str, Any] = {
            "action": played.action[claim, period],
            "reward": (played.to_go if to_go else played.reward)[claim, period],
            "propensity": played.propensity[claim, period],
        }
        X = np.column_stack([played.signal[claim], period, played.contacts[claim, period]])
        return DecisionLog.from_arrays(
            X.astype(np.float64), actions=self.actions, account=claim, names=NAMES, **taken
        )
