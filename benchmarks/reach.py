"""Who will be reached: forecasts for contacts to come, beside rates of the channel and the account.

A simulated book is cut 16 weeks before the end of its log. For every contact after the cut stands
the true chance to be reached (the person's at that hour and weekday; 0 where the address is dead).
Printed by channel, means over seeds:

* rank: Spearman correlation of forecast and truth;
* loss: cross-entropy against the truth in excess of its least value, in hundredths. The level is
  that of the truth for all, since a channel's reactions need not show its reach.

Rivals: the channel's mean, the account's raw rate in the channel, and that rate shrunken to the
channel's with the weight of four contacts. Everything is simulated.

    python benchmarks/reach.py [--accounts 4000] [--seeds 5] [--kinds shop b2b telco utility]
"""

from __future__ import annotations

import argparse
import os
from datetime import timedelta

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import collectopt as co
from collectopt.models import ReachModel
from collectopt.models.reactions import Reactions
from collectopt.simulation.kinds import kind_of

CHANNELS = ("email", "sms", "letter", "phone")
FLOOR = np.array([0.8, 0.85, 1.0, 0.4])  # of the simulator: what is left at the worst hour
NAMES = ("channel", "raw", "shrunken", "ReachModel")


def truth(book: co.simulation.Book, log: Reactions, rows: np.ndarray) -> np.ndarray:
    """Chance of each contact to reach its person, as the simulator has it."""
    account = log.ints("account")[rows]
    code = np.array([CHANNELS.index(log.channels[c]) for c in log.channel[rows]])
    hour, weekday = log.table["hour"].to_numpy()[rows], log.ints("weekday")[rows]
    people, gain = book.truth, kind_of(book.kind).effects.best_day
    match = np.exp(-0.5 * ((hour - people.preferred_hour[account]) / 3.5) ** 2)
    chance = people.reach[account, code] * (FLOOR[code] + (1.0 - FLOOR[code]) * match)
    best = np.where(people.preferred_weekday[account] == weekday, 1.0 + gain, 1.0 - gain / 6.0)
    chance *= np.where(code == CHANNELS.index("letter"), 1.0, best)
    return np.where(log.flag("bounced")[rows], 0.0, np.minimum(chance, 0.97))


def forecasts(ledger: co.Ledger, cut, log: Reactions, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Forecast contacts in all ways from what was known at the cut."""
    past = Reactions.of(ledger, cut)
    key = past.ints("account") * len(log.channels) + past.channel
    seen = past.flag("noticed") | past.flag("done")
    size = ledger.accounts.num_rows * len(log.channels)
    n, k = np.bincount(key, minlength=size), np.bincount(key, seen, minlength=size)
    shape = (-1, len(log.channels))
    mean = (k.reshape(shape).sum(axis=0) / n.reshape(shape).sum(axis=0))[log.channel[rows]]
    at = log.ints("account")[rows] * len(log.channels) + log.channel[rows]
    n, k = n[at], k[at]
    return {
        "channel": mean,
        "raw": np.where(n > 0, k / np.maximum(n, 1), mean),
        "shrunken": (k + 4.0 * mean) / (n + 4.0),
        "ReachModel": _model(ledger, cut, log, rows),
    }


def _model(ledger: co.Ledger, cut, log: Reactions, rows: np.ndarray) -> np.ndarray:
    who, place = np.unique(log.ints("account")[rows], return_inverse=True)
    ids = ledger.accounts["account_id"].take(who).to_pylist()
    snapshot = co.Snapshot.from_rows(ledger, [{"account_id": a, "as_of": cut} for a in ids])
    hours = log.table["hour"].to_numpy()
    cells = [(c, h, d) for c in log.channels for h in np.unique(hours) for d in range(7)]
    actions = co.ActionSet.from_frame(
        [{"channel": "none"}, *({"channel": c, "hour": h, "day": d} for c, h, d in cells)]
    )
    number = {cell: k for k, cell in enumerate(cells, 1)}
    ahead = (log.ints("weekday") - cut.weekday()) % 7
    asked = [number[log.channels[log.channel[r]], hours[r], ahead[r]] for r in rows]
    return ReachModel().fit(ledger, cut).predict(snapshot, actions).block()[place, asked]


def score(forecast: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """Rank correlation, and loss in excess of the least, in hundredths."""
    p = np.clip(forecast * real.mean() / forecast.mean(), 0.01, 0.97)
    q = np.clip(real, 1e-6, 1.0 - 1e-6)
    excess = q * np.log(q / p) + (1.0 - q) * np.log((1.0 - q) / (1.0 - p))
    rank = 0.0 if np.ptp(forecast) == 0.0 else float(spearmanr(forecast, real)[0])
    return rank, 100.0 * float(excess.mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", default=["shop", "b2b", "telco", "utility"])
    options = parser.parse_args()
    found = []
    for kind in options.kinds:
        for seed in range(options.seeds):
            book = co.simulation.Book(kind, accounts=options.accounts, seed=seed)
            cut = book.as_of - timedelta(weeks=16)
            log = Reactions.of(book.ledger(), book.as_of)
            since = np.datetime64(cut.replace(tzinfo=None), "us").astype(np.int64)
            rows = np.flatnonzero(log.ints("sent_at") >= since)
            real, told = truth(book, log, rows), forecasts(book.ledger(), cut, log, rows)
            for c, channel in enumerate(log.channels):
                mine = log.channel[rows] == c
                for name in NAMES:
                    rank, loss = score(told[name][mine], real[mine])
                    found.append((kind, channel, seed, name, mine.sum(), rank, loss))
    columns = ["kind", "channel", "seed", "forecast", "contacts", "rank", "loss"]
    table = pd.DataFrame(found, columns=columns)
    means = table.pivot_table(index=["kind", "channel"], columns="forecast")[["rank", "loss"]]
    print(means.reindex(columns=NAMES, level=1).round(3).to_string())
    wide = table.pivot_table(index=["kind", "channel", "seed"], columns="forecast", values="loss")
    for rival in NAMES[:-1]:
        gain = wide[rival] - wide["ReachModel"]
        by_seed = gain.groupby("seed").mean()
        error = by_seed.std() / np.sqrt(len(by_seed))
        won = (gain > 0).mean()
        print(f"loss of {rival} less ReachModel: {gain.mean():.2f} ± {error:.2f}, won {won:.0%}")


if __name__ == "__main__":
    main()
