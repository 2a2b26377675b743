"""Memory of a whole run: decide for 100,000 accounts with 1,008 factored contacts and waiting.

A policy is fitted on a small simulated book, with the check whether the log shows effects switched
off, so that every account has effects of its own. The large book is written with NumPy: a history
of invoices, payments, contacts and responses for each account. A fresh process then reads it, loads
the policy and decides, under a budget; what is measured is the peak of its resident memory (Linux),
imports included. Accounts x actions would be 0.8 GB for one array of values alone.

The bar: less than 1.5 GB. Exit code 1 above.

    python benchmarks/decide_memory.py [--accounts 100000]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import collectopt as co

GIGABYTES = 1.5
AS_OF = np.datetime64("2026-06-10T06:00", "us")
CHANNELS, TONES = ("email", "sms", "letter", "phone"), ("friendly", "neutral", "firm")


def fit(folder: Path) -> None:
    """Fit on 300 simulated accounts; the actions are those of the large run."""
    from collectopt.models import response

    response.NEEDED_Z = -np.inf
    book = co.simulation.Book("shop", accounts=300, seed=22, weeks=52)
    plain = book.catalogue.to_dict()
    for channel in plain["channels"]:
        for name in ("hours", "weekdays", "capacity"):
            channel.pop(name, None)
    plain["limits"]["budget"] = 5_000.0
    policy = co.NextBestAction(co.Catalogue.from_dict(plain))
    policy.fit(book.ledger(), as_of=book.as_of).save(folder)


def write_book(folder: Path, n: int, seed: int = 0) -> None:
    """Write n accounts with 3 invoices, 2 payments, 4 contacts and 2 responses each."""
    rng = np.random.default_rng(seed)
    folder.mkdir()
    day = AS_OF.astype("datetime64[D]")
    ids = np.char.mod("A%07d", np.arange(n))

    def put(name: str, **columns: object) -> None:
        pq.write_table(
            pa.table({k: pa.array(v) for k, v in columns.items()}), folder / f"{name}.parquet"
        )

    put(
        "accounts",
        account_id=ids,
        customer_type=np.where(rng.random(n) < 0.8, "consumer", "business"),
        country=np.full(n, "DE"),
        timezone=np.full(n, "Europe/Berlin"),
        credit_score=rng.normal(500, 80, n),
        lifetime_value=rng.gamma(2.0, 60.0, n),
        **{f"{channel}_ok": rng.random(n) < 0.9 for channel in CHANNELS},
    )
    owner = np.repeat(np.arange(n), 3)
    age = rng.integers(20, 400, 3 * n)
    age[::3] = rng.integers(15, 60, n)  # the newest one
    issued = day - age
    amount = np.round(rng.gamma(2.0, 40.0, 3 * n) + 5.0, 2)
    names = np.char.mod("I%08d", np.arange(3 * n))
    put(
        "invoices",
        invoice_id=names,
        account_id=ids[owner],
        issued_on=issued,
        due_on=issued + 14,
        amount=amount,
        currency=np.full(3 * n, "EUR"),
    )
    settled = np.flatnonzero(np.arange(3 * n) % 3 > 0)
    delay = np.minimum(rng.integers(1, 60, len(settled)), age[settled] - 1)
    put(
        "payments",
        payment_id=np.char.mod("P%08d", np.arange(len(settled))),
        account_id=ids[owner[settled]],
        paid_at=pa.array(
            (issued[settled] + delay).astype("datetime64[us]") + np.timedelta64(12, "h")
        ).cast(pa.timestamp("us", tz="UTC")),
        amount=amount[settled],
        invoice_id=names[settled],
    )
    m = 4 * n
    who = np.repeat(np.arange(n), 4)
    sent = AS_OF - rng.integers(3 * 86_400, 300 * 86_400, m).astype("timedelta64[s]")
    letters = np.char.mod("C%08d", np.arange(m))
    put(
        "contacts",
        contact_id=letters,
        account_id=ids[who],
        sent_at=pa.array(sent.astype("datetime64[us]")).cast(pa.timestamp("us", tz="UTC")),
        channel=rng.choice(CHANNELS, m),
        tone=rng.choice(TONES, m),
    )
    back = np.flatnonzero(rng.random(m) < 0.5)
    put(
        "responses",
        account_id=ids[who[back]],
        at=pa.array((sent[back] + np.timedelta64(5, "h")).astype("datetime64[us]")).cast(
            pa.timestamp("us", tz="UTC")
        ),
        kind=rng.choice(["delivered", "opened", "answered"], len(back)),
        contact_id=letters[back],
    )


def decide(folder: Path) -> None:
    """Run in a process of its own: read, load, decide, and say how large it grew."""

    def peak() -> float:
        # not ru_maxrss, which starts from the size of the parent
        status = Path("/proc/self/status").read_text()
        return float(status.split("VmHWM:")[1].split()[0]) / 1e6

    found = {"imports": peak()}
    policy = co.load(folder / "policy")
    found["policy"] = peak()
    ledger = co.Ledger.from_parquet(folder / "book")
    found["book"] = peak()
    start = time.process_time()
    decisions = policy.decide(ledger, as_of=AS_OF, rng=0)
    found |= {
        "decide": peak(),
        "seconds": time.process_time() - start,
        "accounts": len(decisions),
        "actions": len(policy.catalogue.actions),
        "mix": decisions.counts(),
        "prices": dict(decisions.prices),
    }
    print(json.dumps(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        decide(args.child)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fit(folder / "policy")
        write_book(folder / "book", args.accounts)
        child = [sys.executable, __file__, "--child", str(folder)]
        done = subprocess.run(child, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    print(f"{found['accounts']:,} accounts x {found['actions']:,} actions: {found['mix']}")
    print(f"prices {found['prices']}, {found['seconds']:.0f} CPU s to decide")
    for step in ("imports", "policy", "book", "decide"):
        print(f"peak after {step:8s} {found[step]:6.2f} GB")
    ok = found["decide"] < GIGABYTES
    print(f"{'holds' if ok else 'MISSED'}: less than {GIGABYTES} GB")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
