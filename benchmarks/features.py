"""Speed of features.compute beside the pandas that one would write by hand; one thread.

Run: OMP_NUM_THREADS=1 python benchmarks/features.py --accounts 20000 --dates 1 6
Prints CPU seconds and rows a second for all features, for a handful of them, and for the same
handful in pandas (checked to be equal).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
import pyarrow as pa

from collectopt.features import compute
from collectopt.schema import Ledger, Snapshot

HANDFUL = (
    "open_amount", "days_past_due", "settled_n", "late_mean", "late_max", "payments_90",
    "paid_90", "days_since_payment", "contacts_90", "days_since_contact", "last_channel",
)  # fmt: skip
INSTANT = pa.timestamp("us", tz="UTC")
SECONDS = 1_000_000


def make_book(n: int, seed: int = 0) -> Ledger:
    """8 invoices, 6 payments and 10 contacts an account, over two years."""
    rng = np.random.default_rng(seed)
    account = np.array([f"A{i:07d}" for i in range(n)])
    start, days = np.datetime64("2024-01-01"), 730
    of = rng.integers(0, n, 8 * n)
    issued = start + rng.integers(0, days, 8 * n)
    due = issued + rng.choice([14, 30], 8 * n)
    cents = rng.integers(500, 50_000, 8 * n)
    invoice = np.array([f"I{i:08d}" for i in range(8 * n)])
    paid = rng.choice(8 * n, 6 * n, replace=False)
    delay = np.rint(rng.gamma(2, 10, 6 * n) - 12).astype(int)
    day = np.maximum(due[paid] + delay, issued[paid] + 1).astype("datetime64[us]")
    paid_at = day + rng.integers(0, 86_400, 6 * n) * SECONDS
    part = rng.random(6 * n) < 0.1
    who = rng.integers(0, n, 10 * n)
    sent_at = start.astype("datetime64[us]") + rng.integers(0, days * 86_400, 10 * n) * SECONDS
    return Ledger.from_frames(
        accounts=pa.table(
            {"account_id": account, "customer_type": ["consumer"] * n, "country": ["DE"] * n}
        ),
        invoices=pa.table(
            {
                "invoice_id": invoice,
                "account_id": account[of],
                "issued_on": pa.array(issued),
                "due_on": pa.array(due),
                "amount": cents / 100,
                "currency": ["EUR"] * (8 * n),
            }
        ),
        payments=pa.table(
            {
                "payment_id": np.array([f"P{i:08d}" for i in range(6 * n)]),
                "account_id": account[of[paid]],
                "paid_at": pa.array(paid_at).cast(INSTANT),
                "amount": np.where(part, cents[paid] // 2, cents[paid]) / 100,
                "invoice_id": invoice[paid],
            }
        ),
        contacts=pa.table(
            {
                "contact_id": np.array([f"C{i:08d}" for i in range(10 * n)]),
                "account_id": account[who],
                "sent_at": pa.array(sent_at).cast(INSTANT),
                "channel": rng.choice(["email", "sms", "phone", "letter"], 10 * n),
            }
        ),
    )


def pandas_by_hand(frames: dict[str, pd.DataFrame], ids: list[str], days: list[str]) -> np.ndarray:
    """The handful, one date after the other, as most feature code is written."""
    parts = []
    for text in days:
        as_of = pd.Timestamp(text, tz="UTC")
        today = as_of.tz_localize(None)
        known = frames["invoices"]
        known = known[known["issued_on"] < today]
        money = frames["payments"]
        money = money[money["paid_at"] < as_of]
        contacts = frames["contacts"]
        contacts = contacts[contacts["sent_at"] < as_of]
        paid = money.groupby("invoice_id")["amount"].agg("sum").rename("paid")
        last = money.groupby("invoice_id")["paid_at"].agg("max").rename("settled_at")
        claims = known.merge(paid, on="invoice_id", how="left").merge(
            last, on="invoice_id", how="left"
        )
        claims["open"] = (claims["amount"] - claims["paid"].fillna(0)).round(2)
        still = claims[claims["open"] > 0].copy()
        still["dpd"] = (today - still["due_on"]).dt.days
        done = claims[claims["open"] <= 0].copy()
        settled_day = done["settled_at"].dt.tz_localize(None).dt.normalize()
        done["late"] = (settled_day - done["due_on"]).dt.days
        paid_ago = (today - money["paid_at"].dt.tz_localize(None).dt.normalize()).dt.days
        sent_ago = (today - contacts["sent_at"].dt.tz_localize(None).dt.normalize()).dt.days
        recent = money[paid_ago <= 90].groupby("account_id")["amount"]
        newest = contacts.sort_values(["sent_at", "contact_id"]).groupby("account_id")
        table = pd.DataFrame(index=pd.Index(ids, name="account_id"))
        table["open_amount"] = still.groupby("account_id")["open"].sum()
        table["days_past_due"] = still.groupby("account_id")["dpd"].max().clip(lower=0)
        late = done.groupby("account_id")["late"]
        table["settled_n"], table["late_mean"], table["late_max"] = (
            late.count(), late.mean(), late.max(),
        )  # fmt: skip
        table["payments_90"], table["paid_90"] = recent.count(), recent.sum()
        table["days_since_payment"] = paid_ago.groupby(money["account_id"]).min()
        table["contacts_90"] = contacts[sent_ago <= 90].groupby("account_id").size()
        table["days_since_contact"] = sent_ago.groupby(contacts["account_id"]).min()
        table["last_channel"] = newest["channel"].last()
        never = {"days_since_payment": 3650, "days_since_contact": 3650}
        channels = ["email", "letter", "phone", "sms"]
        table["last_channel"] = table["last_channel"].map({c: i for i, c in enumerate(channels)})
        parts.append(table.fillna({n: never.get(n, 0) for n in HANDFUL[:-1]}).to_numpy(float))
    return np.stack(parts, axis=1).reshape(-1, len(HANDFUL))


def seconds(function, *arguments):
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--dates", type=int, nargs="+", default=[1, 6])
    options = parser.parse_args()
    ledger = make_book(options.accounts)
    prepare, _ = seconds(lambda: ledger.timeline)
    print(f"{options.accounts:,} accounts; timeline of the ledger, made once: {prepare:.2f} CPU s")
    frames = {name: ledger.table(name).to_pandas() for name in ("payments", "contacts")}
    frames["invoices"] = ledger.invoices.to_pandas(date_as_object=False)
    for frame in frames.values():
        if "amount" in frame:
            frame["amount"] = frame["amount"].astype(float)
    head = f"{'dates':>6}{'rows':>11}  {'what':<28}{'CPU s':>8}{'rows/s':>11}{'ratio':>8}"
    print(head)
    for dates in options.dates:
        days = [str(np.datetime64("2025-12-31") - 30 * i) for i in range(dates)]
        ids = ledger.account_ids.tolist()
        instants = np.array([days] * len(ids), dtype="datetime64[us]").ravel()
        rows = {
            "account_id": np.repeat(ledger.account_ids, dates),
            "as_of": pa.array(instants).cast(INSTANT),
        }
        takes = []
        for names in (None, HANDFUL):
            snapshot = Snapshot.from_rows(ledger, rows)
            takes.append(seconds(compute, snapshot, names))
        by_hand, table = seconds(pandas_by_hand, frames, ids, days)
        ours = takes[1][1].values  # noqa: PD011
        if not np.allclose(ours, table, rtol=1e-4, atol=1e-2, equal_nan=True):
            worst = np.nanargmax(np.abs(ours - table).max(axis=0))
            raise SystemExit(f"pandas disagrees on {HANDFUL[worst]}")
        d = len(takes[0][1].names)
        for what, cpu in (
            (f"all {d} features", takes[0][0]),
            (f"{len(HANDFUL)} features", takes[1][0]),
            (f"{len(HANDFUL)} features, pandas", by_hand),
        ):
            n = len(ours)
            print(
                f"{dates:>6}{n:>11,}  {what:<28}{cpu:>8.2f}{n / cpu:>11,.0f}{by_hand / cpu:>8.2f}"
            )


if __name__ == "__main__":
    main()
