"""Why a customer is late: a posterior over reasons, and how likely it is distress.

No ledger holds the reason as a label, and reasons differ in what helps: a reminder for who forgot,
a plan for who cannot pay, an answer for who disputes. The model is a naive Bayes classifier with
few items that people can read (``delays.toml``: earlier claims, parts paid, debits that came back,
promises, plans, reactions, disputes, credit score and others), adapted to the book without labels
by :mod:`collectopt.models.latent`. The first values are assumptions, and it says so.
"""

from __future__ import annotations

import enum
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from collectopt.exceptions import ArtifactError, NotFittedError
from collectopt.models.evidence import Counts, collect
from collectopt.models.latent import LatentClasses
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

if TYPE_CHECKING:
    import pandas as pd

Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]

#: Dates before as_of at which a fit looks at the book too, days.
LOOK_BACK = (0, 84, 168)
#: Holds that are facts, not guesses: the customer is in distress.
DISTRESS_HOLDS = ("vulnerable", "insolvency", "breathing_space")
_TOLD = 3  # items named as evidence
_SAYS = 0.1  # log-odds that are worth a word
_FILE = "delays.json"


class DelayReason(enum.Enum):
    """Why somebody is late."""

    FORGOT = "forgot"
    CASH_FLOW = "cash_flow"
    CANNOT = "cannot"
    WILL_NOT = "will_not"
    DISPUTE = "dispute"
    UNREACHABLE = "unreachable"
    PROCESS_ERROR = "process_error"


REASONS = tuple(DelayReason)
_GROUPS = ("consumer", "business")


@dataclass(frozen=True, eq=False, repr=False)
class DelayReasons:
    """Reasons of n accounts, in the snapshot's row order.

    Attributes
    ----------
    account_id : tuple of str, length n
    posterior : (n, 7) float64
        Probability of each `DelayReason`, in its order; rows add up to 1.
    distress : (n,) float64
        Probability of financial distress: P(cannot) and a part of P(cash_flow); 1 where a hold
        (vulnerable, insolvency, breathing space) says so.
    counts : mapping of str to (n, outcomes) float64
        What is known of each account, by item (`evidence.collect`).
    gain : (n, items) float64
        By how much each item, in the order of `counts`, speaks for the most likely reason: its
        log-likelihood, less the mean over the reasons.
    """

    account_id: tuple[str, ...]
    posterior: Float
    distress: Float
    counts: Counts
    gain: Float

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __len__(self) -> int:
        return len(self.posterior)

    def __repr__(self) -> str:
        return f"DelayReasons({len(self)} accounts)"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the reasons, in the order of the columns."""
        return tuple(reason.value for reason in REASONS)

    @property
    def most_likely(self) -> tuple[DelayReason, ...]:
        """The most likely reason of each account."""
        return tuple(REASONS[j] for j in self.posterior.argmax(axis=1))

    @property
    def doubt(self) -> Float:
        """Entropy of the posterior over the largest possible one, (n,): 0 = sure, 1 = no idea."""
        p = np.maximum(self.posterior, 1e-300)
        return np.asarray(-(p * np.log(p)).sum(axis=1) / np.log(p.shape[1]), dtype=np.float64)

    @cached_property
    def evidence(self) -> tuple[str, ...]:
        """What speaks most for the most likely reason, in words; empty = nothing is known."""
        names = list(self.counts)
        order = np.argsort(-self.gain, axis=1, kind="stable")[:, :_TOLD]
        return tuple(
            "; ".join(
                _said(names[j], self.counts[names[j]][i]) for j in top if self.gain[i, j] > _SAYS
            )
            for i, top in enumerate(order)
        )

    def to_pandas(self) -> pd.DataFrame:
        """One row an account: account_id, a column a reason, most_likely, distress, evidence."""
        import pandas as pd

        frame = pd.DataFrame({"account_id": list(self.account_id)})
        for j, name in enumerate(self.names):
            frame[name] = self.posterior[:, j]
        frame["most_likely"] = [reason.value for reason in self.most_likely]
        frame["distress"] = self.distress
        frame["evidence"] = list(self.evidence)
        return frame


class DelayModel:
    """Posterior over the reasons of a delay from what the account did.

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=200, seed=1, weeks=20)
    >>> model = DelayModel().fit(book.ledger(), book.as_of)
    >>> found = model.predict(co.Snapshot(book.ledger(), book.as_of))
    >>> found.names[:3]
    ('forgot', 'cash_flow', 'cannot')
    >>> bool(np.allclose(found.posterior.sum(axis=1), 1.0))
    True
    """

    def __init__(self) -> None:
        self.classes_: LatentClasses | None = None

    def __repr__(self) -> str:
        return "DelayModel()"

    def fit(self, ledger: Ledger, as_of: AsOf) -> Self:
        """Adapt the assumed tables to the accounts that were past due before ``as_of``.

        Parameters
        ----------
        ledger : Ledger
            Only rows known before ``as_of`` are used. Without accounts past due the tables stay as
            they are.
        as_of : str, date, aware datetime or numpy.datetime64 (UTC)

        Raises
        ------
        InputError
            ``as_of`` is no time.
        """
        moment = to_instant(as_of, ledger.timezone)
        seen = [_past_due(ledger, moment - np.timedelta64(days, "D")) for days in LOOK_BACK]
        parts = [collect(snapshot) for snapshot in seen]
        counts = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        account = np.concatenate([each.rows["account"].to_numpy() for each in seen])
        _, which, times = np.unique(account, return_inverse=True, return_counts=True)
        weight = 1.0 / times[which.reshape(-1)]  # an account seen three times counts once
        assumed, data = _assumed(), _data()
        if len(account):
            assumed = assumed.refine(
                counts,
                np.concatenate([_group(each) for each in seen]),
                weight,
                share_strength=_strength(data["prior"], weight),
                table_strength=_strength(data["tables"], weight),
            )
        self.classes_ = assumed
        return self

    def predict(self, snapshot: Snapshot) -> DelayReasons:
        """Say for each row why its account is late, if it is.

        Parameters
        ----------
        snapshot : Snapshot
            n rows; only what was known before the time of a row is used.

        Raises
        ------
        NotFittedError
        """
        if self.classes_ is None:
            raise NotFittedError.of(self, "predict")
        counts, group = collect(snapshot), _group(snapshot)
        posterior = self.classes_.posterior(counts, group)
        part = float(_data()["distress"]["cash_flow"])
        columns = {reason: posterior[:, j] for j, reason in enumerate(REASONS)}
        distress = columns[DelayReason.CANNOT] + part * columns[DelayReason.CASH_FLOW]
        return DelayReasons(
            account_id=tuple(snapshot.rows["account_id"].to_pylist()),
            posterior=posterior,
            distress=np.where(_in_distress(snapshot), 1.0, distress),
            counts=counts,
            gain=_gain(self.classes_, counts, posterior, self.classes_.shares[group]),
        )

    def table(self) -> pd.DataFrame:
        """Show what the model believes: item, outcome and its probability by reason.

        Raises
        ------
        NotFittedError
        """
        import pandas as pd

        if self.classes_ is None:
            raise NotFittedError.of(self, "table")
        items = _data()["items"]
        rows = [
            {
                "item": items[name]["title"],
                "outcome": outcome,
                **{reason.value: table[r, j] for r, reason in enumerate(REASONS)},
            }
            for name, table in self.classes_.tables.items()
            for j, outcome in enumerate(items[name]["outcomes"])
        ]
        return pd.DataFrame(rows)

    def save(self, folder: str | Path) -> None:
        """Write the fitted model to a folder, as JSON.

        Raises
        ------
        NotFittedError
        """
        if self.classes_ is None:
            raise NotFittedError.of(self, "save")
        classes = self.classes_
        content = {
            "format": 1,
            "shares": classes.shares.tolist(),
            "tables": {name: table.tolist() for name, table in classes.tables.items()},
            "alike": dict(classes.alike),
            "power": classes.power,
        }
        Path(folder).mkdir(parents=True, exist_ok=True)
        text = json.dumps(content, indent=1, allow_nan=False)
        (Path(folder) / _FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> DelayModel:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtifactError
            There is none, or it does not have the items and reasons of this version.
        """
        file = Path(folder) / _FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            classes = LatentClasses(
                shares=np.array(content["shares"]),
                tables={name: np.array(table) for name, table in content["tables"].items()},
                alike={name: float(value) for name, value in content["alike"].items()},
                power=float(content["power"]),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(f"{file} cannot be read: {error}") from error
        shapes = {name: table.shape for name, table in classes.tables.items()}
        if shapes != {name: table.shape for name, table in _assumed().tables.items()}:
            raise ArtifactError(f"{file} was written by another version: fit the model again.")
        model = cls()
        model.classes_ = classes
        return model


@cache
def _data() -> Mapping[str, Any]:
    with Path(__file__).with_name("delays.toml").open("rb") as file:
        return tomllib.load(file)


def _assumed() -> LatentClasses:
    """Give the tables as assumed, before any book was seen."""
    data = _data()
    names = [reason.value for reason in REASONS]
    return LatentClasses(
        shares=np.array([[data["prior"][group][name] for name in names] for group in _GROUPS]),
        tables={
            item: np.array([entry[name] for name in names]) for item, entry in data["items"].items()
        },
        alike={item: float(entry["alike"]) for item, entry in data["items"].items()},
        power=float(data["tables"]["power"]),
    )


def _strength(entry: Mapping[str, Any], weight: Float) -> float:
    return max(float(entry["strength"]), float(entry["of_book"]) * float(weight.sum()))


def _past_due(ledger: Ledger, moment: np.datetime64) -> Snapshot:
    snapshot = Snapshot(ledger, moment)
    claims = snapshot.claims
    late = claims["row"].to_numpy()[claims["past_due"].to_numpy(zero_copy_only=False)]
    return snapshot.take(np.unique(late))


def _group(snapshot: Snapshot) -> Int:
    kind = snapshot.ledger.accounts["customer_type"].take(snapshot.rows["account"])
    return np.asarray(pc.equal(kind, "business").to_numpy().astype(np.int64))


def _in_distress(snapshot: Snapshot) -> Bool:
    holds = snapshot.holds
    found = np.zeros(len(snapshot), dtype=np.bool_)
    kinds = holds["kind"].to_numpy(zero_copy_only=False)
    found[holds["row"].to_numpy()[np.isin(kinds, DISTRESS_HOLDS)]] = True
    return found


def _gain(classes: LatentClasses, counts: Counts, posterior: Float, shares: Float) -> Float:
    """By how much each item speaks for the most likely reason, (n, items)."""
    items, top = classes.evidence(counts), posterior.argmax(axis=1)
    gains = [items[name][np.arange(len(top)), top] - (shares * items[name]).sum(axis=1)
             for name in counts]  # fmt: skip
    return np.stack(gains, axis=1)


def _said(name: str, counts: Float) -> str:
    entry = _data()["items"][name]
    one = counts.sum() == 1.0
    parts = [
        outcome if one else f"{round(float(count))} {outcome}"
        for outcome, count in zip(entry["outcomes"], counts, strict=True)
        if round(float(count)) > 0
    ]
    return f"{entry['title']}: {', '.join(parts)}"
