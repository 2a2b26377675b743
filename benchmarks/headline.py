"""The headline: what the library's policy gains over a dunning ladder, in simulated books.

For every industry and seed: a book whose log was made by a randomised ladder, the library's policy
fitted on that log alone, then 26 weeks in the same world on common luck beside

* ``ladder``: FixedLadder, the usual reminders at fixed days past due;
* ``friendly``: a friendly message to everybody who may get one, every week;
* ``marginal``: MarginalValue, after van de Geer, Wang and Bhulai;
* ``s-learner``: one LightGBM of features and action, the action with the largest gain taken;
* ``constant``: the library's policy with effects that are the same for everybody;
* ``informed``: sees the truth (types, liquidity, what moves whom), the upper mark;
* ``silence``: no contact at all, no recovery and no cost of its own;
* ``price``: the library's policy when contacts count as four and as sixteen times dearer (in b2b
  also 64 times), and when all that they cost, the relation too, counts a quarter: its frontier.

Prints the change of realisation rate and process cost relative to the ladder, the share of the
headroom captured, (policy - ladder) / (informed - ladder) in net value, and the cost at equal
recovery. Everything is simulated. Parts already computed are read again, so a run that was
stopped goes on.

    python benchmarks/headline.py [--accounts 6000] [--seeds 3] [--out headline] [--jobs 2]
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.console import Console
from rich.progress import Progress
from scipy.stats import t as student

import collectopt as co
from collectopt.models import ResponseModel
from collectopt.models.boosting import TreeOptions, Trees, logit
from collectopt.policy.marginal import Value, action_factors
from collectopt.policy.panel import decision_panel

INDUSTRIES = ("shop", "subscription", "utility", "b2b", "telco")
PLACEBO = "placebo"
KINDS = (*INDUSTRIES, PLACEBO)
# The slowest are begun first, so that no core idles at the end.
SLOWEST = ("b2b", "utility", "telco", "shop", "subscription", PLACEBO)
WEEKS = 26
PRICES = (0.25, 4.0, 16.0)  # of a contact, as a multiple: the library's frontier
FURTHER = {"b2b": (64.0,)}  # more of them where it is long between the dearest and silence
SHOWN = ("friendly", "s-learner", "marginal", "constant", "library", "informed")


@dataclass(frozen=True)
class Job:
    """One book: kind, size, seed."""

    kind: str
    accounts: int
    seed: int

    def file(self, out: Path) -> Path:
        """Where its table is kept."""
        return out / f"{self.kind}-{self.accounts}-{self.seed}.csv"

    def is_done(self, out: Path) -> bool:
        """Whether its table is there, with all policies of today."""
        file = self.file(out)
        return file.exists() and set(shown(self.kind)) <= set(pd.read_csv(file)["policy"])


class Silence:
    """Decides on nobody, without looking."""

    def decide(self, ledger: co.Ledger, as_of: dt.datetime, rng: np.random.Generator) -> Silence:
        """Give a table without rows."""
        del ledger, as_of, rng
        return self

    def to_arrow(self) -> pa.Table:
        """Give the table."""
        text = ("account_id", "channel", "tone", "offer")
        columns = {name: pa.array([], pa.string()) for name in text}
        columns["send_at"] = pa.array([], pa.timestamp("us", "UTC"))
        return pa.table(columns | {"propensity": pa.array([], pa.float64())})


class SLearner(co.MarginalValue):
    """Rank contacts by one LightGBM that sees features and action alike."""

    def fit(self, ledger: co.Ledger, as_of: dt.datetime) -> SLearner:
        """Learn from the same log as the others."""
        horizon = f"{self.catalogue.horizon_days}D"
        log, matrix, _ = decision_panel(ledger, as_of, horizon=horizon, catalogue=self.catalogue)
        kept = np.flatnonzero(log.observed)
        X, y = np.asarray(log.X[kept], dtype=np.float32), log.reward[kept]
        base = float(logit(np.array([y.mean()]))[0])
        rows = np.column_stack([action_factors(log.actions)[log.action[kept]], X])
        options = TreeOptions(rounds=100, rate=0.08, leaves=31)
        trees = Trees.fit(rows, y, options=options, base=np.full(len(y), base))
        every = tuple(range(X.shape[1]))
        categories = dict(matrix.categories)
        self.value_ = Value(matrix.names, categories, base, every, None, trees, len(kept))
        with tempfile.TemporaryDirectory() as folder:
            self._save_models(Path(folder))
            self._seal(Path(folder))
        return self


def constant(
    library: co.NextBestAction, ledger: co.Ledger, as_of: dt.datetime
) -> co.NextBestAction:
    """Fit the library's policy with the same payment model and effects alike for everybody."""
    response = ResponseModel(individual=False, folds=3)
    payment = Given(library.payment_)
    return co.NextBestAction(library.catalogue, payment=payment, response=response).fit(
        ledger, as_of=as_of
    )


@dataclass(frozen=True)
class Given:
    """A fitted payment model that is not fitted again."""

    model: co.models.PaymentModel

    def predict(
        self, snapshot: co.Snapshot, horizons: tuple[str, ...], level: str
    ) -> co.schema.Forecast:
        """Forecast as the model does."""
        return self.model.predict(snapshot, horizons=horizons, level=level, quantiles=())


def prices(kind: str) -> tuple[float, ...]:
    """Prices of a contact that are played in an industry."""
    return PRICES + FURTHER.get(kind, ())


def dearer(factor: float) -> co.Objective:
    """Give the usual objective with contacts that count as so many times dearer.

    Below 1 all that a contact costs counts so much less, the relation and complaints, too.
    """
    harm = co.RelationshipCost() + co.ComplaintRisk()
    return co.ExpectedRecovery() - factor * co.ContactCost() - min(factor, 1.0) * harm


def live(job: Job, out: Path) -> float:
    """Simulate one book under all policies and keep the table; return the seconds it took."""
    began = time.monotonic()
    book = co.simulation.Book(job.kind, accounts=job.accounts, seed=job.seed)
    ledger, catalogue = book.ledger(), book.catalogue
    library = co.NextBestAction(catalogue).fit(ledger, as_of=book.as_of)
    policies = {
        "ladder": co.FixedLadder(catalogue),
        "friendly": co.policy.Everybody(catalogue),
        "library": library,
    }
    if job.kind != PLACEBO:  # there the cost alone counts
        policies |= {
            "marginal": co.MarginalValue(catalogue).fit(ledger, as_of=book.as_of),
            "s-learner": SLearner(catalogue).fit(ledger, as_of=book.as_of),
            "constant": constant(library, ledger, book.as_of),
            "informed": co.simulation.Informed(catalogue),
            "silence": Silence(),
        }
    if job.kind != PLACEBO:
        policies |= {f"price {k:g}": library.with_objective(dearer(k)) for k in prices(job.kind)}
    table = book.run(policies, weeks=WEEKS).to_pandas()
    temporary = job.file(out).with_suffix(".tmp")
    table.assign(kind=job.kind, seed=job.seed).to_csv(temporary, index=False)
    temporary.replace(job.file(out))
    return time.monotonic() - began


def main() -> None:
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--accounts", type=int, default=6_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("headline"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [
        Job(kind, options.accounts, seed) for seed in range(options.seeds) for kind in options.kinds
    ]
    console = Console()
    began = time.monotonic()
    missing = [job for job in jobs if not job.is_done(options.out)]
    compute(sorted(missing, key=lambda job: SLOWEST.index(job.kind)), options, console)
    runs = pd.concat([pd.read_csv(job.file(options.out)) for job in jobs], ignore_index=True)
    show(runs, options.kinds)
    (options.out / "summary.json").write_text(json.dumps(summary(runs, options.kinds), indent=1))
    console.print(f"{len(jobs)} books, {time.monotonic() - began:.0f} s. All of it is simulated.")


def compute(jobs: list[Job], options: argparse.Namespace, console: Console) -> None:
    """Simulate the books in processes of their own."""
    if not jobs:
        return
    context = multiprocessing.get_context("spawn")
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(options.jobs, mp_context=context) as pool,
    ):
        bar = progress.add_task("simulating", total=len(jobs))
        waiting = {pool.submit(live, job, options.out): job for job in jobs}
        for done in as_completed(waiting):
            job = waiting[done]
            console.print(f"{job.kind}, seed {job.seed}: {done.result():.0f} s")
            progress.advance(bar)


# -- figures -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Figure:
    """A mean over seeds with its 95 % interval (Student's t); nan where it is not defined."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: np.ndarray) -> Figure:
        """Mean of one value a seed."""
        n = len(values)
        half = student.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
        return cls(float(values.mean()), float(half))

    @classmethod
    def ratio(cls, over: np.ndarray, under: np.ndarray) -> Figure:
        """Ratio of means, its interval from the linearised residuals (delta method)."""
        if under.mean() <= 0:
            return cls(np.nan, np.nan)
        value = over.mean() / under.mean()
        return cls(float(value), cls.of((over - value * under) / under.mean()).half)

    @classmethod
    def mean_of(cls, figures: list[Figure]) -> Figure:
        """Mean over independent books; half widths add up in squares."""
        half = np.sqrt(np.square([figure.half for figure in figures]).sum()) / len(figures)
        return cls(float(np.mean([figure.mean for figure in figures])), float(half))

    def show(self, scale: float = 100.0, unit: str = " %", digits: int = 1) -> str:
        """Print as a number with its half width."""
        if np.isnan(self.mean):
            return "-"
        head = f"{scale * self.mean:+,.{digits}f}{unit}"
        return head + ("" if np.isnan(self.half) else f" ±{scale * self.half:,.{digits}f}")


def column(runs: pd.DataFrame, kind: str, policy: str, name: str) -> np.ndarray:
    """One value a seed."""
    rows = runs[(runs.kind == kind) & (runs.policy == policy)].sort_values("seed")
    values: np.ndarray = rows[name].to_numpy(dtype=np.float64)
    return values


def shown(kind: str) -> tuple[str, ...]:
    """Policies of the table."""
    return ("friendly", "library") if kind == PLACEBO else SHOWN


def changes(runs: pd.DataFrame, kind: str, policy: str) -> dict[str, Figure]:
    """Say what a policy changes against the ladder."""

    def pair(name: str) -> tuple[np.ndarray, np.ndarray]:
        return column(runs, kind, policy, name), column(runs, kind, "ladder", name)

    paid, ladder_paid = pair("recovered")
    late, ladder_late = pair("late_realisation")
    cost, ladder_cost = pair("cost")
    net, ladder_net = pair("net_value")
    if kind == PLACEBO:
        room = np.zeros(len(net))
    else:
        room = column(runs, kind, "informed", "net_value") - ladder_net
    return {
        "realisation": Figure.ratio(paid - ladder_paid, ladder_paid),
        "late": Figure.ratio(late - ladder_late, ladder_late),
        "cost": Figure.ratio(cost - ladder_cost, ladder_cost),
        "net": Figure.of(net - ladder_net),
        "headroom": Figure.ratio(net - ladder_net, room),
        "cost at equal recovery": equal_recovery(runs, kind, policy),
        "realisation at equal cost": equal_cost(runs, kind, policy),
    }


def equal_recovery(runs: pd.DataFrame, kind: str, policy: str) -> Figure:
    """Change of cost where the policy recovers what the ladder does; on a line between means.

    The library's frontier runs from silence over dearer contacts to the full policy and on to
    cheaper ones; another policy's from silence to itself, as if it were played on a part of the
    accounts.
    """
    if kind == PLACEBO:
        return Figure(np.nan, np.nan)
    goal = column(runs, kind, "ladder", "recovered").mean()
    means = frontier(runs, kind, policy).sort_values("recovered")
    if means.recovered.iloc[-1] < goal:
        return Figure(np.nan, np.nan)
    spent = float(np.interp(goal, means.recovered, means.cost))
    return Figure(spent / column(runs, kind, "ladder", "cost").mean() - 1.0, np.nan)


def equal_cost(runs: pd.DataFrame, kind: str, policy: str) -> Figure:
    """Change of realisation where the policy spends what the ladder does; on the same lines.

    Who spends less at most keeps what that brings: the rest of the money is left.
    """
    if kind == PLACEBO:
        return Figure(np.nan, np.nan)
    means = frontier(runs, kind, policy).sort_values("cost")
    brought = float(
        np.interp(column(runs, kind, "ladder", "cost").mean(), means.cost, means.recovered)
    )
    return Figure(brought / column(runs, kind, "ladder", "recovered").mean() - 1.0, np.nan)


def frontier(runs: pd.DataFrame, kind: str, policy: str) -> pd.DataFrame:
    """Mean cost and realisation of each point of a policy's frontier."""
    dearer_ = [f"price {k:g}" for k in prices(kind)] if policy == "library" else []
    played = runs[(runs.kind == kind) & runs.policy.isin(["silence", policy, *dearer_])]
    return played.groupby("policy")[["recovered", "cost"]].mean()


def lines(runs: pd.DataFrame, kinds: list[str]) -> Iterator[tuple[str, ...]]:
    """Rows of the table."""
    for kind in kinds:
        ladder = column(runs, kind, "ladder", "recovered").mean()
        for policy in shown(kind):
            found = changes(runs, kind, policy)
            yield (
                kind if policy == SHOWN[0] else "",
                policy,
                found["realisation"].show(),
                f"{100 * (1 / ladder - 1):+.1f} %",
                found["late"].show(),
                found["cost"].show(),
                found["cost at equal recovery"].show(),
                found["realisation at equal cost"].show(),
                found["net"].show(1.0, "", 0),
                found["headroom"].show(1.0, "", 2),
            )


HEAD = (
    "book", "policy", "realisation", "ceiling", "late realisation", "process cost",
    "cost at equal recovery", "realisation at equal cost", "net, EUR", "headroom",
)  # fmt: skip


def show(runs: pd.DataFrame, kinds: list[str]) -> None:
    """Print the table in Markdown."""
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD))
    for row in lines(runs, kinds):
        print("| " + " | ".join(row) + " |")
    for policy, figure in mean_headroom(runs, kinds).items():
        print(f"mean headroom captured, {policy}: {figure.show(1.0, '', 2)}")
    for rival in ("constant", "s-learner"):
        print(f"library less {rival}, headroom by book (SE): {paired(runs, kinds, rival)}")


def paired(runs: pd.DataFrame, kinds: list[str], rival: str) -> str:
    """Mean over books of the difference in headroom, with its error, in all and by industry."""
    found = {}
    for kind in (kind for kind in kinds if kind != PLACEBO):
        room = column(runs, kind, "informed", "net_value") - column(
            runs, kind, "ladder", "net_value"
        )
        gain = column(runs, kind, "library", "net_value") - column(runs, kind, rival, "net_value")
        found[kind] = gain / room
    found = {"all": np.concatenate(list(found.values())), **found} if found else {}
    return ", ".join(
        f"{name} {x.mean():+.2f} ({x.std(ddof=1) / np.sqrt(len(x)) if len(x) > 1 else np.nan:.2f})"
        for name, x in found.items()
    )


def mean_headroom(runs: pd.DataFrame, kinds: list[str]) -> dict[str, Figure]:
    """Average the headroom captured over the industries, by policy."""
    real = [kind for kind in kinds if kind != PLACEBO]
    return {
        policy: Figure.mean_of([changes(runs, kind, policy)["headroom"] for kind in real])
        for policy in SHOWN[:-1]
        if real
    }


def summary(runs: pd.DataFrame, kinds: list[str]) -> dict[str, object]:
    """Give all figures as plain data."""
    return {
        kind: {
            policy: {name: [f.mean, f.half] for name, f in changes(runs, kind, policy).items()}
            for policy in shown(kind)
        }
        for kind in kinds
    }


if __name__ == "__main__":
    main()
