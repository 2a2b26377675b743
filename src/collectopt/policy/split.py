"""Champion and challengers: every customer belongs to one arm, by a stable hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.exceptions import InputError
from collectopt.policy.arms import CHAMPION, SPLIT, Arm, arms_of_shares, customers, parts_of, places
from collectopt.policy.base import Policy, check_currency
from collectopt.policy.draws import seed_of
from collectopt.policy.engine import Bools, Case
from collectopt.policy.orders import check
from collectopt.policy.overrides import Overrides
from collectopt.policy.rechecking import Recheck
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue, Exploring
from collectopt.schema.decisions import WAITS, Decisions
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant


class Split(Policy):
    """Let challengers decide for a share of the customers each, the champion for all others.

    A customer (`customer_id`; an account without one is a customer of its own) belongs to one arm
    by a hash of the salt and the id, whatever else is in the book: the accounts of one customer go
    together, and new accounts move nobody. A challenger that grows takes customers from the
    champion alone, and gives them back to it; its place depends on its position, so add new
    challengers at the end, and let a challenger that has ended stay with the share 0.

    Limits of a run (budget, minutes, harshness, capacities, the budget of exploration) are those of
    the champion's catalogue, shared in proportion to the arms' shares, whole contacts by largest
    remainder. So arms do not take from one another, and what one arm would do with all customers
    can be told from what it does with its share; units that an arm does not need stay unused.

    Parameters
    ----------
    champion : Policy
    challengers : mapping of str to (Policy, float)
        Name -> policy, share of the customers.
    salt : str
        Names the test: another salt draws anew.

    Examples
    --------
    >>> from collectopt import Catalogue
    >>> from collectopt.policy import FixedLadder, NoContact, Split
    >>> catalogue = Catalogue.default()
    >>> split = Split(FixedLadder(catalogue), {"silence": (NoContact(catalogue), 0.1)}, salt="may")
    >>> split.arm_of(["C1", "C2", "C3"]).tolist()
    ['silence', 'silence', 'champion']
    """

    kind: ClassVar[str] = SPLIT

    def __init__(
        self, champion: Policy, challengers: Mapping[str, tuple[Policy, float]], salt: str
    ) -> None:
        arms = arms_of_shares(champion, challengers)
        if not salt:
            raise InputError.of(
                "Split", "salt", expected="some text that names the test", found=repr(salt)
            )
        super().__init__(champion.catalogue, champion.rules)
        self.salt = salt
        self.arms = arms

    def __repr__(self) -> str:
        shares = ", ".join(f"{arm.name} {arm.share:.0%}" for arm in self.arms)
        return f"Split({shares}; salt={self.salt!r})"

    @property
    def explore(self) -> float:
        """Probability to explore, of the champion."""
        return self.arms[0].policy.explore

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Let every arm learn from the whole book."""
        for arm in self.arms:
            arm.policy.fit(ledger, as_of)
        return self

    @property
    def version(self) -> str:
        """Hash of the salt, the shares and the versions of the arms.

        Raises
        ------
        NotFittedError
            An arm is not fitted.
        """
        self._seal(Path())
        return super().version

    def arm_of(self, customer_ids: Sequence[str]) -> NDArray[np.object_]:
        """Name the arm of customers.

        Parameters
        ----------
        customer_ids : sequence of str

        Returns
        -------
        object array (n,)
            Names of arms.
        """
        return self._names([f"customer:{name}" for name in customer_ids])

    def arms_of(self, ledger: Ledger, account_ids: Sequence[str]) -> NDArray[np.object_]:
        """Name the arm of accounts of a ledger, (n,).

        Raises
        ------
        InputError
            An account is not in the ledger.
        """
        return self._names(customers(ledger, account_ids))

    def _names(self, keys: Sequence[str]) -> NDArray[np.object_]:
        place = places(keys, self.salt)
        names = np.full(len(place), CHAMPION, dtype=object)
        for arm in self.arms[1:]:
            names[(place >= arm.low) & (place < arm.high)] = arm.name
        return names

    def decide(
        self,
        ledger: Ledger,
        as_of: AsOf,
        rng: int | np.random.Generator = 0,
        *,
        overrides: Overrides | None = None,
    ) -> Decisions:
        """Decide for every account with an open claim, each by its arm; see `Policy.decide`.

        `policy_version` of a row is that of its arm, and its last reason names the arm. Prices are
        told by arm, as "champion: phone".
        """
        seed = seed_of(rng)
        self._seal(Path())  # says which policy is not fitted
        check_currency(ledger, self.catalogue)
        snapshot = Snapshot(ledger, to_instant(as_of, self.catalogue.timezone))
        check(overrides, ledger, self.catalogue)
        names = self.arms_of(ledger, snapshot.rows["account_id"].to_pylist())
        parts = []
        for arm, limited in zip(self.arms, self.shared(), strict=True):
            rows = np.flatnonzero(names == arm.name)
            if len(rows) or arm.name == CHAMPION:
                mine = snapshot.take(rows)
                made = arm.policy._decided(mine, seed, limited, overrides)  # noqa: SLF001
                parts.append((arm, made))
        return _joined(parts)

    def shared(self) -> Iterator[Catalogue]:
        """Give the catalogue of each arm with its part of the limits."""
        whole = self.catalogue
        shares = np.array([arm.share for arm in self.arms])
        capacities = [
            [None] * len(shares) if c.capacity is None else parts_of(c.capacity, shares)
            for c in whole.channels
        ]
        for a, arm in enumerate(self.arms):
            own = arm.policy.catalogue
            limits = own.limits.model_copy(
                update={
                    name: _times(getattr(whole.limits, name), arm.share)
                    for name in ("budget", "minutes", "harshness")
                }
            )
            channels = tuple(
                channel.model_copy(update={"capacity": capacities[c][a]})
                for c, channel in enumerate(own.channels)
            )
            exploring = own.exploration
            budgets = [each.budget for each in (whole.exploration, exploring) if each is not None]
            bound = next((budget for budget in budgets if budget is not None), None)
            if bound is not None:
                update = {"budget": bound * arm.share}
                exploring = (exploring or Exploring()).model_copy(update=update)
            changed = {"limits": limits, "channels": channels, "exploration": exploring}
            yield _renewed(own, changed)

    def recheck(
        self,
        decisions: Decisions,
        ledger: Ledger,
        now: AsOf,
        *,
        overrides: Overrides | None = None,
    ) -> Recheck:
        """Hold decisions against the rules of their arms once more; see `Policy.recheck`."""
        check(overrides, ledger, self.catalogue)  # as in `decide`: an arm may lack a tone or offer
        names = self.arms_of(ledger, decisions.table["account_id"].to_pylist())
        found = []
        for arm in self.arms:
            mask = names == arm.name
            if not mask.any() and arm.name != CHAMPION:
                continue
            part = decisions.filter(mask)
            found.append(arm.policy._rechecked(part, ledger, now, overrides))  # noqa: SLF001
        kept = pa.concat_tables([one.decisions.table for one in found])
        order = pc.sort_indices(kept["account_id"])
        terms = {
            name: pa.concat_arrays([_flat(one.decisions.terms[name]) for one in found]).take(order)
            for name in decisions.terms
        }
        return Recheck(
            replace(
                decisions,
                table=kept.take(order),
                terms=terms,
                candidates=_candidates([one.decisions for one in found], order),
                waits=_waits([one.decisions for one in found], order),
            ),
            pa.concat_tables([one.stopped for one in found]).sort_by("account_id"),
        )

    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        return self.arms[0].policy._case(snapshot, state)  # noqa: SLF001 - of the champion

    def _content(self) -> dict[str, Any]:
        return {
            "salt": self.salt,
            "champion": self.arms[0].policy.version,
            "challengers": [
                {"name": arm.name, "share": arm.share, "version": arm.policy.version}
                for arm in self.arms[1:]
            ],
        }

    def kinds(self) -> dict[str, str]:
        """Name the kind of each fitted model of each arm."""
        return {f"{a.name}: {n}": k for a in self.arms for n, k in a.policy.kinds().items()}

    def _save_models(self, folder: Path) -> None:
        for number, arm in enumerate(self.arms):
            arm.policy.save(folder / folder_of(number))

    def _seal(self, folder: Path) -> None:
        """Compute the version from those of the arms, which hash their own files."""
        del folder
        parts = json.dumps([self.kind, self._content()], sort_keys=True)
        self._version = hashlib.sha256(parts.encode()).hexdigest()[:16]


def folder_of(number: int) -> str:
    """Name the folder of an arm in a saved split; 0 is the champion."""
    return f"arm{number}"


def _times(limit: float | None, share: float) -> float | None:
    return None if limit is None else limit * share


def _renewed(own: Catalogue, changed: dict[str, Any]) -> Catalogue:
    """Copy a catalogue with other limits; what it derived from its channels is derived anew."""
    twin = own.model_copy(update=changed)
    twin.__dict__.pop("actions", None)
    return twin


def _flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def _joined(parts: list[tuple[Arm, Decisions]]) -> Decisions:
    """Put the arms' decisions together, sorted by account."""
    tables = []
    terms: dict[str, list[pa.Array]] = {n: [] for _, made in parts for n in made.terms}
    fallbacks: dict[str, int] = {}
    for arm, made in parts:
        said = f"Decided by {arm.name} ({arm.share:.1%} of the customers)."
        reasons = [[*one, said] for one in made.table["reasons"].to_pylist()]
        place = made.table.schema.get_field_index("reasons")
        column = pa.array(reasons, made.table.schema.field(place).type)
        tables.append(made.table.set_column(place, made.table.schema.field(place), column))
        for name, values in terms.items():
            unknown = pa.array(np.full(len(made), np.nan))
            values.append(_flat(made.terms.get(name, unknown)))
        for why, count in made.fallbacks.items():
            fallbacks[why] = fallbacks.get(why, 0) + count
    table = pa.concat_tables(tables)
    order = pc.sort_indices(table["account_id"])
    return Decisions(
        table=table.take(order).combine_chunks(),
        terms={name: pa.concat_arrays(values).take(order) for name, values in terms.items()},
        fallbacks=fallbacks,
        prices={f"{a.name}: {n}": p for a, made in parts for n, p in made.prices.items()},
        exploration={f"{a.name}: {n}": p for a, m in parts for n, p in m.exploration.items()},
        candidates=_candidates([made for _, made in parts], order),
        waits=_waits([made for _, made in parts], order),
    )


def _candidates(parts: list[Decisions], order: pa.Array) -> pa.Array | None:
    """Put the candidates of several decisions together; None where one of them kept none."""
    kept = [_flat(part.candidates) for part in parts if part.candidates is not None]
    return pa.concat_arrays(kept).take(order) if len(kept) == len(parts) else None


def _waits(parts: list[Decisions], order: pa.Array) -> pa.Array | None:
    """Put the days that are waited for together; None where no arm has any."""
    if all(part.waits is None for part in parts):
        return None
    none = [pa.nulls(len(part), WAITS) if part.waits is None else part.waits for part in parts]
    return pa.concat_arrays([_flat(part) for part in none]).take(order)
