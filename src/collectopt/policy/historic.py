"""Logs that do not say with which chance a contact was made: decisions rebuilt, chances estimated.

Such a log has contacts but seldom those who could have been contacted and were not. So decisions
are laid on the log's own rhythm: a grid of the catalogue's cadence, at the weekday and hour that
fit the log's contacts best. Whoever has something past due at a step decides there: the first
contact of the step if there is one, else a wait. What was known is that of the step's start.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.features import FeatureMatrix
from collectopt.models.contrasts import Mains, folds
from collectopt.models.overlap import Overlap, Verdict, inside
from collectopt.models.propensity import action_chance, contact_chance
from collectopt.models.sensitivity import Sensitivity, sensitivity
from collectopt.policy.engine import Bools, Floats
from collectopt.policy.panel import LIMIT, Ints, encode, outcomes
from collectopt.schema.actions import ActionSet
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.log import DecisionLog
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.times import INSTANT, AsOf, to_instant

_FOLDS, _SEED = 3, 0
_FEWEST = 200  # rows, and 30 contacts and waits: fewer say nothing of the choice
_SIDE = 30
_WAITS = 0.05  # share of waits from which on a log is taken to record them
_HOUR = np.int64(3_600_000_000)
_DAY = 24 * _HOUR
_LATE = """
with paid as (
    select invoice, sum(cents) as cents, max(known_at) as at from settlements
    where known_at < {cut} group by all
), late as (
    select c.account, c.due_at, c.known_at,
           case when coalesce(p.cents, 0) >= c.cents then p.at else {cut} end as until
    from claims c left join paid p using (invoice)
)
select distinct l.account, s.step
from steps s join late l on l.due_at <= s.at and l.until >= s.at and l.known_at < s.at
order by 1, 2
"""


@dataclass(frozen=True, eq=False)
class Historic:
    """Decisions of a log without propensities.

    Attributes
    ----------
    log : DecisionLog
        Decisions whose chance of a contact was neither below .02 nor above .98, with estimated
        propensities.
    matrix : FeatureMatrix
    snapshot : Snapshot
        Of the same rows.
    overlap : Overlap
        Of all decisions, those left out included.
    contact : ndarray (n,)
        Estimated P(contact | x) of the rows of the log.
    """

    log: DecisionLog
    matrix: FeatureMatrix
    snapshot: Snapshot
    overlap: Overlap
    contact: Floats

    def sensitivity(self) -> Sensitivity | None:
        """Bound the effect of a contact on the chance to pay; None where an arm is too small."""
        log, kept = self.log, self.log.observed
        acted = log.action[kept] > 0
        if min(acted.sum(), (~acted).sum()) < _SIDE:
            return None
        return sensitivity(
            log.X[kept],
            log.reward[kept],
            acted,
            chance=self.contact[kept],
            account=log.account[kept],
            names=log.names,
        )

    def unusable(self, found: Sensitivity | None) -> str:
        """Say why effects read off this log are not to be counted; empty where they are."""
        if self.overlap.verdict is Verdict.DETERMINISTIC:
            return (
                f"what was known settles whom the log contacted (AUC {self.overlap.auc:.2f}, "
                f"{self.overlap.outside:.0%} of the decisions certain), so nothing can be "
                "compared; explore, see collectopt.evaluation.exploration_design"
            )
        if found is None:
            return "too few decisions whose horizon is over were open"
        if found.breakdown <= 1.0:
            return "with estimated ones no effect of contacts is told from zero"
        if not found.holds:
            return (
                "a hidden reason to contact that moved the odds "
                f"{found.breakdown:.2f} times would explain what the log shows; {found.strongest} "
                f"alone moves them {found.benchmark:.2f} times"
            )
        return ""

    def note(self, found: Sensitivity) -> str:
        """Say how far the effects can be trusted."""
        weak = "; overlap is weak" if self.overlap.verdict is Verdict.WEAK else ""
        return (
            f"Propensities were estimated, on {self.overlap.rows} decisions{weak}. The effects "
            "hold unless a hidden reason moved the odds of a contact "
            f"{found.breakdown:.2f} times or more ({found.strongest} moves them "
            f"{found.benchmark:.2f} times)."
        )


def historic_panel(ledger: Ledger, as_of: AsOf, catalogue: Catalogue) -> Historic | None:
    """Rebuild the decisions of a log without propensities, and estimate these.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date or aware datetime
        Nothing from then on is read.
    catalogue : Catalogue
        Names the actions, the rhythm and the horizon.

    Returns
    -------
    Historic or None
        None where all contacts have propensities, or where fewer than 200 decisions, 30 contacts
        or 30 waits are found.
    """
    cut = to_instant(as_of, catalogue.timezone)
    if not _first(ledger, cut)["propensity"].null_count:
        return None
    rows, action, lag = historic_rows(ledger, cut, catalogue)
    log, matrix, snapshot = outcomes(
        ledger, cut, catalogue, rows, action, horizon=f"{catalogue.horizon_days}D"
    )
    acted = log.action > 0
    if len(log) < _FEWEST or min(acted.sum(), (~acted).sum()) < _SIDE:
        return None
    cluster = np.unique(log.account, return_inverse=True)[1]
    X = np.asarray(matrix.values, dtype=np.float32)
    fold, mains = folds(cluster, _FOLDS, _SEED), Mains.learn(X)
    contact = contact_chance(X, acted, fold, mains)
    overlap = Overlap.of(
        X,
        acted,
        contact,
        channels=_shares(log.action, log.actions),
        names=log.names,
        lag_days=lag,
    )
    chance = action_chance(X, log.action, log.actions, fold, mains, contact)
    kept = np.flatnonzero(inside(contact))
    return Historic(
        _some(replace(log, propensity=chance), kept),
        replace(matrix, values=matrix.values[kept]),
        snapshot.take(kept),
        overlap,
        contact[kept],
    )


def historic_rows(
    ledger: Ledger, cut: np.datetime64, catalogue: Catalogue
) -> tuple[pa.Table, Ints, float]:
    """Lay decisions on the log's own rhythm.

    A log that records waits (channel "none") says itself who decided when: its rows are taken.
    Steps with a contact that the catalogue does not have, or with an agency, are left out.

    Returns
    -------
    rows : pyarrow.Table
        account_id, as_of, propensity (1 throughout: unknown).
    action : (n,) int64
        0 = wait.
    lag : float
        Mean days from the row's time to the decision to contact.
    """
    contacts = _first(ledger, cut)
    moment = _micro(contacts["known_at"])
    waited = pc.equal(contacts["channel"], "none").to_numpy().astype(np.bool_)
    if waited.sum() >= max(_WAITS * len(waited), 1.0):
        action = encode(contacts, ledger, catalogue.actions)
        kept = np.flatnonzero(_plain(action, catalogue.actions))
        account = contacts["account"].to_numpy()[kept]
        return _table(ledger, account, moment[kept]), action[kept], 0.0
    contacts = contacts.filter(pa.array(~waited))
    moment = moment[~waited]
    if not len(contacts):
        return _table(ledger, np.zeros(0, np.int64), moment), np.zeros(0, np.int64), 0.0
    width = catalogue.cadence_days * _DAY
    origin = _origin(moment, width)
    step = (moment - origin) // width
    account = contacts["account"].to_numpy().astype(np.int64)
    first = np.r_[True, (account[1:] != account[:-1]) | (step[1:] != step[:-1])]
    contacts, account, moment = contacts.filter(pa.array(first)), account[first], moment[first]
    base, step = step.min(), step[first] - step.min()
    begin = origin + (base + np.arange(step.max() + 1)) * width
    start = begin + width  # of each step: its first contact; its begin where it has none
    np.minimum.at(start, step, moment)
    start = np.where(start == begin + width, begin, start)
    known = contacts.column_names.index("known_at")
    at = pa.array(start[step]).cast(pa.timestamp("us")).cast(INSTANT)
    played = encode(contacts.set_column(known, "known_at", at), ledger, catalogue.actions)

    over = begin + width <= cut.astype("datetime64[us]").astype(np.int64)
    asked, when = _past_due(ledger, cut, np.flatnonzero(over), start[over])
    keys = account * len(start) + step  # in order: accounts, then steps
    wanted = asked * len(start) + when
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    action = np.where(keys[place] == wanted, played[place], 0)
    kept = np.flatnonzero(_plain(action, catalogue.actions))
    lag = float((moment - start[step]).mean() / _DAY)
    return _table(ledger, asked[kept], start[when[kept]]), action[kept], lag


def _first(ledger: Ledger, cut: np.datetime64) -> pa.Table:
    """Contacts known before the cut, in order of account and time, the first of each moment."""
    contacts = ledger.timeline.contacts
    limit = pa.scalar(cut.item()).cast(pa.timestamp("us")).cast(INSTANT)
    keys = [("account", "ascending"), ("known_at", "ascending"), ("contact_id", "ascending")]
    contacts = contacts.filter(pc.less(contacts["known_at"], limit)).sort_by(keys)
    account, moment = contacts["account"].to_numpy(), _micro(contacts["known_at"])
    first = np.r_[True, (account[1:] != account[:-1]) | (moment[1:] != moment[:-1])]
    return contacts.filter(pa.array(first[: len(contacts)]))


def _plain(action: Ints, actions: ActionSet) -> Bools:
    """Tell waits and contacts; neither unknown actions nor special ones."""
    return np.asarray((action == 0) | ((action > 0) & actions.is_contact[action]), dtype=np.bool_)


def _origin(moment: Ints, width: np.int64) -> np.int64:
    """Phase of the grid, to the hour, from which contacts follow soonest on average."""
    phase = moment % width
    best = min(
        range(int(width // _HOUR)),
        key=lambda hour: float(((phase - hour * _HOUR) % width).mean()),
    )
    return np.int64(best) * _HOUR


def _past_due(ledger: Ledger, cut: np.datetime64, steps: Ints, at: Ints) -> tuple[Ints, Ints]:
    """Accounts and steps at which something may be past due; the newest where there are too many.

    Claims that are closed by the cut are asked for until then, a little more than needed: what is
    past due at a step is told by the snapshot, which reads nothing later.
    """
    timeline = ledger.timeline
    table = pa.table({"step": steps, "at": pa.array(at).cast(pa.timestamp("us")).cast(INSTANT)})
    sql = _LATE.replace("{cut}", f"TIMESTAMPTZ '{cut.astype('datetime64[us]')}+00'")
    names = ["invoice", "account", "cents", "due_at", "known_at"]
    parts = {
        "steps": table,
        "claims": timeline.claims.select(names),
        "settlements": timeline.settlements,
    }
    found = query(sql, parts)
    account = found["account"].to_numpy().astype(np.int64)
    step = found["step"].to_numpy()
    if len(step) > 2 * LIMIT:
        kept = step >= np.sort(step)[-2 * LIMIT]
        account, step = account[kept], step[kept]
    return account, step


def _table(ledger: Ledger, account: NDArray[Any], moment: Ints) -> pa.Table:
    ids = ledger.accounts["account_id"].combine_chunks().take(pa.array(account, pa.int64()))
    at = pa.array(moment, pa.int64()).cast(pa.timestamp("us")).cast(INSTANT)
    return pa.table({"account_id": ids, "as_of": at, "propensity": np.ones(len(account))})


def _micro(column: pa.ChunkedArray) -> Ints:
    return np.asarray(pc.cast(column, pa.int64()).to_numpy(), dtype=np.int64)


def _shares(action: Ints, actions: ActionSet) -> list[tuple[str, float]]:
    """Share of the decisions by channel, those that the log never used included."""
    code = actions.channel[action]
    return [(name, float((code == i).mean())) for i, name in enumerate(actions.channels)]


def _some(log: DecisionLog, rows: Ints) -> DecisionLog:
    names = ("X", "action", "reward", "propensity", "account", "as_of", "observed")
    return replace(log, **{name: getattr(log, name)[rows] for name in names})
