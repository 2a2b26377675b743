"""What came of each logged decision, side by side: money, promises, complaints, opt-outs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from collectopt.models.labels import Level, durations, open_cents
from collectopt.models.proceeds import share_until
from collectopt.policy.panel import decision_panel
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.horizons import Horizon
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.times import AsOf, to_instant

_KINDS = {
    "promised": ("promised", "plan_accepted"),
    "complained": ("complained",),
    "opted_out": ("opted_out",),
}
_HAPPENED = """
select r.row, s.kind
from rows r join responses s on s.account = r.account
where s.known_at >= r.as_of and s.known_at < {cut}
  and s.known_at < r.as_of + to_seconds(cast({days} * 86400 as bigint))
group by r.row, s.kind
"""


def decision_outcomes(
    ledger: Ledger, as_of: AsOf, *, horizon: str = "28D", catalogue: Catalogue | None = None
) -> pd.DataFrame:
    """Tell what came of every decision that a book's contacts record, waits included.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date or aware datetime
        Nothing from then on is read.
    horizon : str
        Such as "28D": outcomes are those from the decision until then.
    catalogue : Catalogue or None
        Names the actions; None: the library's default.

    Returns
    -------
    DataFrame
        account_id; decided_at (UTC); action; propensity; past_due (EUR that were past due and on no
        hold); share of it that came in, discounted, and cash (EUR, likewise); paid (all of it);
        promised, complained, opted_out; watched (days, at most the horizon); over (whether the
        horizon was over, and no credit note closed a claim); weight, by which `paid` of the rows
        where it is known stands for all. Where ``over`` is false, outcomes are lower bounds.

    Notes
    -----
    An account that is decided on every week has overlapping horizons: rows ask what the decision of
    their own week changes given the past, and share what comes of it. Errors of anything computed
    from them are to be clustered by account.
    """
    catalogue = catalogue or Catalogue.default()
    cut, days = to_instant(as_of, catalogue.timezone), Horizon.parse(horizon).days
    log, _, snapshot = decision_panel(ledger, cut, horizon=horizon, catalogue=catalogue)
    found = durations(snapshot, "full", "account", cut)
    cents = open_cents(snapshot, Level.ACCOUNT)
    share = share_until(snapshot, cut, days, yearly_rate=catalogue.discount_rate)
    over = log.observed
    return pd.DataFrame(
        {
            "account_id": snapshot.rows["account_id"].to_numpy(zero_copy_only=False),
            "decided_at": pd.to_datetime(log.as_of).tz_localize("UTC"),
            "action": np.array(catalogue.actions.names, dtype=object)[log.action],
            "propensity": log.propensity,
            "past_due": cents / 100.0,
            "share": share,
            "cash": share * cents / 100.0,
            "paid": found.event & (found.days <= days),
            **_happened(snapshot, cut, days),
            "watched": np.minimum(found.days, days),
            "over": over,
            "weight": log.weight,
        }
    )


def _happened(snapshot: Snapshot, cut: np.datetime64, days: float) -> dict[str, np.ndarray]:
    """Whether something of a kind was said within the days, by kind."""
    tables = {
        "rows": snapshot.rows.select(["row", "account", "as_of"]),
        "responses": snapshot.ledger.timeline.responses.select(["account", "kind", "known_at"]),
    }
    said: pa.Table = query(_HAPPENED.format(cut=f"TIMESTAMPTZ '{cut}+00'", days=days), tables)
    row, kind = said["row"].to_numpy(), said["kind"].to_numpy(zero_copy_only=False)
    out = {}
    for name, kinds in _KINDS.items():
        out[name] = np.zeros(len(snapshot), dtype=bool)
        out[name][row[np.isin(kind, kinds)]] = True
    return out
