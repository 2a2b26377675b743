"""Champion against challengers: what came of the customers of each arm."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.compute as pc
from scipy import stats

from collectopt.exceptions import InputError
from collectopt.policy.arms import CHAMPION, customers
from collectopt.policy.split import Split
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import AsOf, to_instant

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
_OUTCOMES = ("recovered", "cost", "net")


def difference(
    outcome: npt.ArrayLike, treated: npt.ArrayLike, covariate: npt.ArrayLike | None = None
) -> tuple[float, float]:
    """Mean outcome of the treated less that of the others, with its standard error.

    Parameters
    ----------
    outcome : array_like, shape (n,)
        One row a unit that was drawn: where customers are drawn, a customer, not a decision.
    treated : array_like of bool, shape (n,)
    covariate : array_like, shape (n,), optional
        Known before the draw took effect; takes out what of the outcome it foretells. Each arm has
        its own slope (Lin 2013, Annals of Applied Statistics 7), so it does no harm.

    Returns
    -------
    float, float
        In the unit of the outcome. The error allows for arms that vary differently (HC2).

    Raises
    ------
    InputError
        Fewer than three units in an arm, shapes that differ, numbers that are not finite.

    Examples
    --------
    >>> gain, stderr = difference([1.0, 2.0, 3.0, 3.0, 4.0, 5.0], [False] * 3 + [True] * 3)
    >>> round(gain, 6)
    2.0
    """
    y, t = np.asarray(outcome, np.float64), np.asarray(treated, bool)
    x = None if covariate is None else np.asarray(covariate, np.float64)
    for name, values in (("outcome", y), ("treated", t), ("covariate", x)):
        if values is None:
            continue
        if values.shape != y.shape or y.ndim != 1 or not np.isfinite(values).all():
            raise InputError.of(
                "difference", name, expected="finite numbers, all (n,)", found=str(values.shape)
            )
    least = int(min(t.sum(), (~t).sum()))
    if least < 3:
        raise InputError.of(
            "difference", "treated", expected="three units in each arm", found=str(least)
        )
    columns = [np.ones(len(y)), t.astype(np.float64)]
    if x is not None and np.ptp(x[t]) > 0 and np.ptp(x[~t]) > 0:
        z = (x - x.mean()) / x.std()
        columns += [z, z * t]
    design = np.column_stack(columns)
    bread = np.linalg.inv(design.T @ design)
    beta = bread @ (design.T @ y)
    lever = np.einsum("ij,jk,ik->i", design, bread, design)
    residual = (y - design @ beta) / np.sqrt(np.maximum(1.0 - lever, 1e-9))
    meat = design.T @ (design * residual[:, None] ** 2)
    return float(beta[1]), float(np.sqrt((bread @ meat @ bread)[1, 1]))


@dataclass(frozen=True, eq=False)
class ArmComparison:
    """What came of the customers of each arm of a split; prints as one table.

    Attributes
    ----------
    table : pandas.DataFrame
        One row an arm, the champion first: arm, share (planned), customers, accounts, open (EUR a
        customer at the start); recovered, cost and net (EUR a customer); and for each of these
        three `<name>_difference` to the champion with `_stderr`, `_low`, `_high`.
    level : float
        Nominal coverage of the intervals.
    mismatch : float
        P-value of the numbers of customers under the planned shares (chi-square). A tiny one means
        that who is in which arm is not what the split says, and that the table is not to be read.
    currency : str
    """

    table: pd.DataFrame
    level: float
    mismatch: float
    currency: str

    def to_pandas(self) -> pd.DataFrame:
        """Give the table."""
        return self.table

    def _head(self) -> str:
        return (
            f"{self.currency} a customer since the start, differences to the champion with "
            f"{self.level:.0%} intervals; shares as planned: p = {self.mismatch:.2g}"
        )

    def __repr__(self) -> str:
        shown = self.table.to_string(index=False, float_format="{:.2f}".format)
        return f"{self._head()}\n{shown}"

    def _repr_html_(self) -> str:
        shown = self.table.to_html(index=False, float_format="{:.2f}".format)
        return f"<p>{escape(self._head())}</p>{shown}"


def compare_arms(
    split: Split,
    ledger: Ledger,
    since: AsOf,
    as_of: AsOf,
    *,
    adjust: bool = True,
    level: float = 0.95,
) -> ArmComparison:
    """Compare what the arms of a split recovered, and what it cost, by customer.

    Counted are the customers with something open when the split began, whatever was then decided
    for them, and the claims that were open then: cash on them since, less what the contacts with
    the customer cost. Decisions are not compared one by one: whom an arm still decides on is its
    own doing, as who has paid is gone. A customer is one row, so errors are by customer.

    Parameters
    ----------
    split : Split
    ledger : Ledger
    since : str, date or aware datetime
        When the split began to decide.
    as_of : str, date or aware datetime
        Nothing from then on is read.
    adjust : bool
        Take out what the open amount at the start foretells.
    level : float
        Nominal coverage, in (0, 1).

    Returns
    -------
    ArmComparison

    Raises
    ------
    InputError
        Nothing between the two times, or fewer than three customers in an arm with a share.

    Notes
    -----
    A contact without a cost in the log costs what the champion's catalogue says of its channel.
    """
    zone = split.catalogue.timezone
    start, end = to_instant(since, zone), to_instant(as_of, zone)
    if not start < end or not 0.0 < level < 1.0:
        raise InputError.of(
            "compare_arms",
            "as_of" if start >= end else "level",
            expected="a time after `since`, and a level in (0, 1)",
            found=f"{end}, {level}",
        )
    rows = _rows(split, ledger, start, end)
    arms = [arm for arm in split.arms if arm.share > 0]
    z = float(stats.norm.ppf(0.5 + level / 2.0))
    records = []
    for arm in arms:
        own = rows[rows["arm"] == arm.name]
        if len(own) < 3:
            raise InputError.of(
                "compare_arms", arm.name, expected="three customers at least", found=str(len(own))
            )
        record = {
            "arm": arm.name,
            "share": arm.share,
            "customers": len(own),
            "accounts": int(own["accounts"].sum()),
            "open": own["open"].mean(),
            **{name: own[name].mean() for name in _OUTCOMES},
        }
        both = rows[rows["arm"].isin([CHAMPION, arm.name])]
        for name in _OUTCOMES if arm.name != CHAMPION and split.arms[0].share > 0 else ():
            covariate = both["open"].to_numpy() if adjust else None
            gain, stderr = difference(both[name], both["arm"] == arm.name, covariate)
            record |= {
                f"{name}_difference": gain,
                f"{name}_stderr": stderr,
                f"{name}_low": gain - z * stderr,
                f"{name}_high": gain + z * stderr,
            }
        records.append(record)
    seen = np.array([record["customers"] for record in records], dtype=np.float64)
    planned = np.array([arm.share for arm in arms])
    fit = stats.chisquare(seen, seen.sum() * planned / planned.sum()).pvalue
    mismatch = float(fit) if len(arms) > 1 else 1.0
    return ArmComparison(pd.DataFrame(records), level, mismatch, split.catalogue.currency)


def _rows(split: Split, ledger: Ledger, start: np.datetime64, end: np.datetime64) -> pd.DataFrame:
    """One row a customer: arm, accounts, and EUR open at the start, recovered, cost, net."""
    snapshot = Snapshot(ledger, start)
    ids = snapshot.rows["account_id"].to_pylist()
    claims = snapshot.claims
    frame = pd.DataFrame(
        {"customer": customers(ledger, ids), "arm": split.arms_of(ledger, ids), "accounts": 1}
    )
    n = len(ledger.accounts)
    account = snapshot.rows["account"].to_numpy().astype(np.int64)
    frame["open"] = (
        np.bincount(claims["row"].to_numpy(), claims["open_cents"].to_numpy(), minlength=len(frame))
        / 100.0
    )
    frame["recovered"] = _recovered(ledger, start, end, n)[account] / 100.0
    frame["cost"] = _costs(split, ledger, start, end, n)[account]
    frame["net"] = frame["recovered"] - frame["cost"]
    return frame.groupby(["customer", "arm"], as_index=False).sum()


def _between(column: object, start: np.datetime64, end: np.datetime64) -> npt.NDArray[np.bool_]:
    at = pc.cast(column, "int64").to_numpy()
    low, high = (t.astype("datetime64[us]").astype(np.int64) for t in (start, end))
    return np.asarray((at >= low) & (at < high))


def _recovered(ledger: Ledger, start: np.datetime64, end: np.datetime64, n: int) -> Float:
    """Cents of cash by account, on claims known before the start."""
    claims, paid = ledger.timeline.claims, ledger.timeline.settlements
    before = np.datetime64("1900-01-01", "us")
    old = claims["invoice"].to_numpy()[_between(claims["known_at"], before, start)]
    kept = _between(paid["known_at"], start, end) & np.isin(paid["invoice"].to_numpy(), old)
    kept &= paid["cash"].to_numpy(zero_copy_only=False)
    return np.bincount(
        paid["account"].to_numpy()[kept], paid["cents"].to_numpy()[kept], minlength=n
    ).astype(np.float64)


def _costs(split: Split, ledger: Ledger, start: np.datetime64, end: np.datetime64, n: int) -> Float:
    """EUR of contacts decided since the start and sent, by account."""
    contacts = ledger.timeline.contacts
    kept = _between(contacts["known_at"], start, end) & _between(contacts["sent_at"], start, end)
    known = {channel.name: channel.cost for channel in split.catalogue.channels}
    cost = pd.to_numeric(contacts["cost"].to_pandas(), errors="coerce").to_numpy(np.float64)
    usual = contacts["channel"].to_pandas().map(known).fillna(0.0).to_numpy(np.float64)
    cost = np.where(np.isnan(cost), usual, cost)
    return np.bincount(contacts["account"].to_numpy()[kept], cost[kept], minlength=n).astype(
        np.float64
    )
