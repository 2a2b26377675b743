"""What every policy can do: fit, decide, be saved."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pyarrow.compute as pc

from collectopt import __version__
from collectopt.exceptions import ArtifactError, InputError, NotFittedError
from collectopt.policy.draws import seed_of
from collectopt.policy.engine import Bools, Case, Setting
from collectopt.policy.orders import Orders, check, with_approvals
from collectopt.policy.overrides import Overrides
from collectopt.policy.rechecking import Judge, Recheck, recheck
from collectopt.policy.record import decide
from collectopt.rules.layout import Layout
from collectopt.rules.rules import Rules
from collectopt.rules.state import State
from collectopt.schema.atomic import atomic_folder
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.decisions import Decisions
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

FORMAT = 1
MARKER = "policy.json"


def check_currency(ledger: Ledger, catalogue: Catalogue) -> None:
    """Refuse a book in another currency than the catalogue's costs: there are no exchange rates.

    Raises
    ------
    InputError
    """
    if not isinstance(ledger, Ledger):
        raise InputError.of(
            "ledger",
            None,
            expected="a Ledger",
            found=type(ledger).__name__,
            hint="Read one with Ledger.from_parquet(folder) or Ledger.from_frames(...).",
        )
    other = pc.not_equal(ledger.invoices["currency"], catalogue.currency)
    if pc.any(other).as_py():
        found = ledger.invoices["currency"].filter(other)[0].as_py()
        rows = np.flatnonzero(other.to_numpy())
        raise InputError.of(
            "invoices",
            "currency",
            expected=f"{catalogue.currency}, the currency of the catalogue",
            found=found,
            rows=rows.tolist(),
            hint=f'Split the book by currency, and state costs in it: currency = "{found}".',
        )


class Policy(ABC):
    """A policy: from a ledger and a time to one decision an account with an open claim.

    Parameters
    ----------
    catalogue : Catalogue
    rules : Rules or None
        None takes those of the catalogue.
    """

    kind: ClassVar[str]
    explores_evenly: ClassVar[bool] = False

    def __init__(self, catalogue: Catalogue, rules: Rules | None = None) -> None:
        if not isinstance(catalogue, Catalogue):
            raise InputError.of(
                type(self).__name__,
                "catalogue",
                expected="a Catalogue",
                found=type(catalogue).__name__,
                hint='Catalogue.from_toml("collections.toml") reads one.',
            )
        self.catalogue = catalogue
        self.rules = Rules.from_catalogue(catalogue) if rules is None else rules
        self._version: str | None = None

    @abstractmethod
    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Learn from what was known before ``as_of``."""

    @abstractmethod
    def _case(self, snapshot: Snapshot, state: State) -> tuple[Case, Mapping[str, Bools]]:
        """Look at a snapshot: the case, and the accounts that cannot be decided by reason."""

    @abstractmethod
    def _content(self) -> dict[str, Any]:
        """Parameters and what was learnt, ready for JSON, without models."""

    def _aware(self, snapshot: Snapshot, state: State) -> State:
        """Add to the facts what the policy believes; here nothing."""
        del snapshot
        return state

    def _save_models(self, folder: Path) -> None:
        """Write the fitted models; a policy without models writes nothing."""
        del folder

    @property
    def explore(self) -> float:
        """Probability to explore."""
        return 0.0

    def kinds(self) -> dict[str, str]:
        """Name the kind of each fitted model; a policy without models has none."""
        return {}

    @property
    def version(self) -> str:
        """Hash of all that decides: catalogue, objective, rules and models.

        Raises
        ------
        NotFittedError
        """
        if self._version is None:
            raise NotFittedError.of(self, "version")
        return self._version

    def decide(
        self,
        ledger: Ledger,
        as_of: AsOf,
        rng: int | np.random.Generator = 0,
        *,
        overrides: Overrides | None = None,
    ) -> Decisions:
        """Decide for every account with an open claim.

        Parameters
        ----------
        ledger : Ledger
            Only what was known before ``as_of`` is used.
        as_of : str, date or aware datetime
            A bare date means local midnight of the catalogue's time zone.
        rng : int or Generator
            Seed of the exploration. The same inputs and seed give the same bytes.
        overrides : Overrides or None
            What people decided for single accounts; those that hold on the account's local day
            count. Nothing is left to chance there, and `policy_version` begins with "override":
            kept as `policy` of a contact, learning leaves it out of effects.

        Returns
        -------
        Decisions
            One row an account, sorted by account_id.

        Raises
        ------
        NotFittedError, InputError
        """
        if self._version is None:
            raise NotFittedError.of(self, "decide")
        seed = seed_of(rng)
        check_currency(ledger, self.catalogue)
        snapshot = Snapshot(ledger, to_instant(as_of, self.catalogue.timezone))
        check(overrides, ledger, self.catalogue)
        return self._decided(snapshot, seed, self.catalogue, overrides)

    def _decided(
        self,
        snapshot: Snapshot,
        seed: int,
        catalogue: Catalogue,
        overrides: Overrides | None = None,
    ) -> Decisions:
        """Decide for a snapshot, within the limits of a catalogue that is else the policy's own."""
        layout = Layout.of(catalogue.actions)
        state = self._aware(snapshot, State.of(snapshot, catalogue, layout))
        state = with_approvals(state, overrides, snapshot)
        case, undecidable = self._case(snapshot, state)
        setting = Setting(
            snapshot,
            catalogue,
            self.rules,
            layout,
            state,
            self.explore,
            seed,
            self.version,
            undecidable,
            self.explores_evenly,
        )
        if overrides:
            orders = Orders.of(overrides, snapshot, state, layout, rules=self.rules)
            free = ~orders.forced(len(state))  # a person needs no forecast
            undecidable = {why: mask & free for why, mask in undecidable.items()}
            setting = replace(setting, orders=orders, undecidable=undecidable)
        return decide(setting, case)

    def recheck(
        self,
        decisions: Decisions,
        ledger: Ledger,
        now: AsOf,
        *,
        overrides: Overrides | None = None,
    ) -> Recheck:
        """Hold decisions against the rules once more, before they are carried out.

        Parameters
        ----------
        decisions : Decisions
            Of this policy.
        ledger : Ledger
            With what has happened since. Contacts that these decisions announced in it, by their
            `decision_id`, do not count against themselves.
        now : str, date or aware datetime
            Only what was known before it is used.
        overrides : Overrides or None
            As they stand now. What was forced goes by contact policy only while it still is; what
            a person has forbidden since, or decided otherwise, is stopped (code OVERRIDE).

        Returns
        -------
        Recheck
            What may still go, and what is stopped by which rule.
        """
        check(overrides, ledger, self.catalogue)
        return self._rechecked(decisions, ledger, now, overrides)

    def _rechecked(
        self, decisions: Decisions, ledger: Ledger, now: AsOf, overrides: Overrides | None
    ) -> Recheck:
        moment = to_instant(now, self.catalogue.timezone)
        judge = Judge(self.catalogue, self.rules, self._aware, overrides)
        return recheck(decisions, ledger, moment, judge)

    def save(self, path: str | Path) -> None:
        """Write the fitted policy to a folder; it appears whole or not at all.

        Raises
        ------
        NotFittedError
        InputError
            The folder holds something else.
        ArtifactError
            A part cannot be written down: own rules, own terms, a model without ``save``.
        """
        version = self.version
        known = Rules.from_catalogue(self.catalogue)
        if self.rules != known.without(set(known.codes) - set(self.rules.codes)):
            raise ArtifactError(
                "a policy with own rules cannot be saved: only those of the catalogue, or some of "
                "them (rules.without([...])), can be written down."
            )
        with atomic_folder(Path(path), marker=MARKER) as folder:
            self._save_models(folder)
            head = {
                "format": FORMAT,
                "collectopt": __version__,
                "kind": self.kind,
                "version": version,
                "catalogue": self.catalogue.to_dict(),
                "rules": list(self.rules.codes),
                "content": self._content(),
            }
            text = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False)
            (folder / MARKER).write_text(text + "\n", encoding="utf-8")

    def _seal(self, folder: Path) -> None:
        """Compute the version from the content and the files of the models in ``folder``."""
        digest = hashlib.sha256()
        parts = [self.kind, self.catalogue.to_dict(), repr(self.rules), self._content()]
        digest.update(json.dumps(parts, sort_keys=True, default=repr).encode())
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != MARKER:
                digest.update(file.relative_to(folder).as_posix().encode())
                digest.update(file.read_bytes())
        self._version = digest.hexdigest()[:16]
