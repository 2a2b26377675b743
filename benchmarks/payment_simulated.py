"""Simulated books in the payment benchmark: what the latent type would add to the forecast.

The same learner is fitted twice as of 26 weeks before the end of the log: on what the ledger shows,
and with the true type of each account as one more feature. Both are asked about all claims open at
the cut and all invoices issued in the weeks after it, on their day of issue. The less the second
gains, the more of the type the history gives away.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

import collectopt as co
from collectopt.evaluation.survival import censoring_weights
from collectopt.models import PaymentModel, ShrunkenRate, labels
from payment_lines import Bar, Line, inside, pooled, short

PART = "simulated"
KINDS = ("shop", "subscription", "utility", "b2b", "telco")
WEEKS = 26
RATIO = Bar(high=1.10)
#: Days of the integrated Brier score.
GRID = np.r_[1:31, 33:61:3, 65:121:5]
DAYS = (30, 90)
TYPE = "latent_type"
OWN, TRUTH, RATE = "PaymentModel", "with the latent type", "shrunken rate"
FIGURES = (*(f"Brier, {days} d" for days in DAYS), "CRPS, days")


def live(kind: str, accounts: int, seed: int) -> pd.DataFrame:
    """Figures of one book, one line a forecaster."""
    book = co.simulation.Book(kind, accounts=accounts, seed=seed)
    cut = book.as_of - dt.timedelta(weeks=WEEKS)
    plain, rich = book.ledger(), informed(book)
    model = {"event": "full", "levels": ("invoice",)}
    asked = {
        OWN: (PaymentModel(**model), plain),
        TRUTH: (PaymentModel(**model), rich),
        RATE: (ShrunkenRate(event="full"), plain),
    }
    horizons = sorted({*GRID.tolist(), *DAYS})
    rows = questions(plain, cut)
    scored = Outcomes.of(co.Snapshot.from_rows(plain, rows), book.as_of)
    lines = []
    for name, (learner, ledger) in asked.items():
        learner.fit(ledger, as_of=cut)
        snapshot = co.Snapshot.from_rows(ledger, rows)
        wanted = tuple(f"{days}D" for days in horizons)
        forecast = learner.predict(snapshot, horizons=wanted, level="invoice")
        curve = dict(zip(horizons, forecast.p_paid.T, strict=True))
        figures = {f"Brier, {days} d": scored.brier(curve[days], days) for days in DAYS}
        figures["CRPS, days"] = scored.crps(curve)
        covered, over = inside(forecast, scored.came, scored.watched)
        figures |= {"covered": (covered & over).sum(), "over": over.sum()}
        lines.append({"kind": kind, "seed": seed, "forecaster": name, "n": len(rows), **figures})
    return pd.DataFrame(lines)


def informed(book: co.simulation.Book) -> co.Ledger:
    """Give the ledger with the type of each account as a feature."""
    plain = book.ledger()
    if not np.array_equal(plain.account_ids.astype(str), book.truth.account_id):
        raise RuntimeError("ledger and truth list the accounts in different orders")
    tables = {
        name: plain.table(name)
        for name in ("invoices", "payments", "contacts", "responses", "holds")
    }
    accounts = plain.accounts.append_column(TYPE, pa.array(book.truth.type.astype(str)))
    return co.Ledger.from_frames(
        accounts=accounts, **tables, features=[TYPE], timezone=plain.timezone
    )


def questions(ledger: co.Ledger, cut: dt.datetime) -> pa.Table:
    """Claims open at the cut, and invoices of later days on the midnight that begins their day."""
    names = ["account_id", "as_of", "invoice_id"]
    open_ = co.Snapshot(ledger, cut).to_invoice_level().rows.select(names)
    day = np.datetime64(cut.replace(tzinfo=None), "D").astype(dt.date)
    bills = ledger.invoices
    new = bills.filter(
        pc.and_(
            pc.greater(bills["issued_on"], pa.scalar(day)),
            pc.greater(bills["amount"], pa.scalar(Decimal("0.00"))),
        )
    )
    dated = new.select(["account_id", "issued_on", "invoice_id"]).rename_columns(names)
    new_rows = co.Snapshot.from_rows(ledger, dated).rows.select(names)
    return pa.concat_tables([open_, new_rows])


@dataclass(frozen=True, eq=False)
class Outcomes:
    """When the claims of n rows were settled, known to the end of the log.

    Attributes
    ----------
    came : Durations
    watched : (n,) days until the end of the log
    """

    came: labels.Durations
    watched: np.ndarray

    @classmethod
    def of(cls, snapshot: co.Snapshot, end: dt.datetime) -> Outcomes:
        """Look them up."""
        came = labels.durations(snapshot, "full", "invoice", end)
        return cls(came, labels.watched(snapshot, end))

    def brier(self, p: np.ndarray, days: float, watched: float | None = None) -> float:
        """Brier score among the rows watched for so many days (default: the horizon).

        Claims that were withdrawn before are stood for by the others.
        """
        kept = self.watched >= (days if watched is None else watched)
        when, hit, known = self.came.days[kept], self.came.event[kept], self.watched[kept]
        weight = censoring_weights(when, hit, known, np.full(kept.sum(), float(days)))
        y = hit & (when < days)
        return float(np.average((p[kept] - y) ** 2, weights=weight))

    def crps(self, curve: dict[int, np.ndarray]) -> float:
        """Integral of the Brier score over the grid, in days; rows watched for all of it."""
        longest = float(GRID[-1])
        scores = [self.brier(curve[days], float(days), longest) for days in GRID.tolist()]
        return float(np.trapezoid(scores, GRID))


def judge(frames: list[pd.DataFrame]) -> list[Line]:
    """Compare both learners by kind, seeds averaged, and over all kinds."""
    found = pooled(frames)
    mean = found.groupby(["kind", "forecaster"])[list(FIGURES)].mean()
    kinds = [kind for kind in KINDS if kind in set(found["kind"])]
    lines = []
    for figure in FIGURES:
        by = mean.reset_index().pivot_table(figure, "kind", "forecaster").loc[kinds]
        ratio = by[OWN] / by[TRUTH]
        for kind in kinds:
            beside = ", ".join(f"{name} {short(by.loc[kind, name])}" for name in (OWN, TRUTH, RATE))
            lines.append(Line(PART, kind, f"{figure}: ratio", float(ratio[kind]), RATIO, beside))
        lines.append(Line(PART, "mean", f"{figure}: ratio", float(ratio.mean()), RATIO))
    sums = found[found["forecaster"] == OWN].groupby("kind")[["covered", "over", "n"]].sum()
    for kind in kinds:
        held, over, n = sums.loc[kind]
        beside = f"{over:,} of {n:,} intervals were over"
        lines.append(Line(PART, kind, "coverage of 80 % intervals", held / over, None, beside))
    return lines
