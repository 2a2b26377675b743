"""The payment benchmark: every claim about payment forecasts beside its bar.

Run by ``make bench-payment``.

* ``fines``: road traffic fines, yearly walk-forward 2009 to 2011, any payment at nine questions
  from creation, letter and penalty; calibration, 80 % intervals, share recovered;
* ``ibm``: IBM's invoices, late and over 10 days late, cut at 1 June 2013;
* ``uci``: UCI credit cards, late next month (see ``uci.py``);
* ``simulated``: books whose latent types are known: what would they add to the history?
* ``speed``: seconds and memory of the hazard (see ``hazard.py``).

Prints two Markdown tables, all bars and all forecasters, and writes them to ``--out``. Exit code 1
if a bar is missed. What ``--out`` holds already is read again, so a run that was stopped goes on;
``--again`` computes the library's own forecasts anew and keeps those of the rivals of the fines.

    COLLECTOPT_DATA=data python benchmarks/payment.py [--only fines ibm] [--jobs 2]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pandas as pd
from rich.console import Console
from rich.progress import Progress

import collectopt as co
import payment_fines
import payment_ibm
import payment_simulated
import payment_speed
import payment_uci
from collectopt.integrations import fines, ibm_ar
from collectopt.integrations._source import locate
from fines_rows import DEVELOPMENT, YEARS
from payment_lines import HEAD, SCORE_HEAD, Line, Score, markdown, plain
from payment_rivals import HAS_CATBOOST, HAS_SKSURV

PARTS = ("fines", "ibm", "uci", "simulated", "speed")
WORK: dict[str, Callable[..., pd.DataFrame]] = {
    "fines-own": payment_fines.own,
    "fines-rivals": payment_fines.others,
    "ibm": payment_ibm.compare,
    "uci": payment_uci.compare,
    "simulated": payment_simulated.live,
    "speed": payment_speed.measure,
}
#: Folder and file of the data that a part reads.
SOURCES = {
    "fines": (fines.FOLDER, fines.FILE),
    "ibm": (ibm_ar.FOLDER, ibm_ar.FILE),
    "uci": (payment_uci.FOLDER, payment_uci.FILE),
}


@dataclass(frozen=True)
class Job:
    """One piece of work: what, and with which arguments."""

    what: str
    arguments: tuple[str | int, ...] = ()

    def file(self, out: Path) -> Path:
        """Where its table is kept."""
        name = "-".join(map(str, (self.what, *self.arguments)))
        return out / f"{name.replace(' ', '_')}.parquet"

    @property
    def part(self) -> str:
        """Part of the benchmark that it belongs to."""
        return self.what.split("-", maxsplit=1)[0]


def work(job: Job, out: Path) -> float:
    """Do one job and keep its table; return the seconds it took."""
    began = time.monotonic()
    table = WORK[job.what](*job.arguments)
    took = time.monotonic() - began
    target = job.file(out)
    temporary = target.with_suffix(".tmp")
    table.attrs["seconds"] = took
    table.to_parquet(temporary, index=False)
    temporary.replace(target)
    return took


def main() -> int:
    """Compute what is missing, print; 0 = all bars are reached."""
    options = arguments()
    console = Console(stderr=True)
    try:
        for part in options.only:
            if part in SOURCES:
                folder, file = SOURCES[part]
                locate(None, folder=folder, file=file)
    except co.exceptions.InputError as error:
        console.print(str(error), style="red")
        return 1
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = [job for part in options.only for job in jobs(part, options)]
    if options.again:
        for job in wanted:
            if job.what != "fines-rivals":
                job.file(options.out).unlink(missing_ok=True)
    for there, name in ((HAS_CATBOOST, "catboost"), (HAS_SKSURV, "scikit-survival")):
        if not there:
            console.print(f"{name} is not installed: its rows are left out", style="yellow")
    missing = [job for job in wanted if not job.file(options.out).exists()]
    compute([job for job in missing if job.part != "speed"], options.jobs, options.out, console)
    # Timings want the machine for themselves.
    compute([job for job in missing if job.part == "speed"], 1, options.out, console)
    tables = {job: pd.read_parquet(job.file(options.out)) for job in wanted}
    lines, scores = judge(tables, options.only)
    return report(lines, scores, seconds(tables), options.out)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path, default=Path("payment"))
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="compute the library's rows anew")
    parser.add_argument(
        "--years", nargs="+", type=int, choices=DEVELOPMENT + YEARS, default=list(YEARS)
    )
    cuts = (*payment_ibm.DEVELOPMENT, payment_ibm.CUT)
    parser.add_argument("--cuts", nargs="+", choices=cuts, default=[payment_ibm.CUT])
    kinds = payment_simulated.KINDS
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=list(kinds))
    parser.add_argument("--accounts", type=int, default=3_000)
    parser.add_argument("--seeds", type=int, default=2)
    return parser.parse_args()


def jobs(part: str, options: argparse.Namespace) -> list[Job]:
    """Work of a part, the slowest first."""
    if part == "fines":
        kinds = ("fines-rivals", "fines-own")
        return [Job(what, (year,)) for what in kinds for year in reversed(options.years)]
    if part == "ibm":
        return [Job(part, (cut,)) for cut in options.cuts]
    if part == "simulated":
        books = [(kind, seed) for kind in options.kinds for seed in range(options.seeds)]
        return [Job(part, (kind, options.accounts, seed)) for kind, seed in books]
    if part == "speed":
        return [Job(part, (case,)) for case in payment_speed.CASES]
    return [Job(part)]


def compute(missing: list[Job], processes: int, out: Path, console: Console) -> None:
    """Do the jobs in processes of their own."""
    if not missing:
        return
    context = multiprocessing.get_context("spawn")
    with (
        Progress(console=console) as progress,
        ProcessPoolExecutor(processes, mp_context=context) as pool,
    ):
        bar = progress.add_task("computing", total=len(missing))
        waiting = {pool.submit(work, job, out): job for job in missing}
        for done in as_completed(waiting):
            job = waiting[done]
            named = " ".join(map(str, (job.what, *job.arguments)))
            console.print(f"{named}: {done.result():.0f} s")
            progress.advance(bar)


def judge(tables: dict[Job, pd.DataFrame], parts: list[str]) -> tuple[list[Line], list[Score]]:
    """Lines and scores of the parts."""

    def of(what: str) -> list[pd.DataFrame]:
        return [table for job, table in tables.items() if job.what == what]

    lines: list[Line] = []
    scores: list[Score] = []
    for part in parts:
        if part == "fines":
            found = payment_fines.judge(of("fines-own"), of("fines-rivals"))
        elif part == "ibm":
            found = payment_ibm.judge(of(part))
        elif part == "uci":
            found = payment_uci.judge(of(part)[0])
        elif part == "simulated":
            found = payment_simulated.judge(of(part)), []
        else:
            found = payment_speed.judge(of(part)), []
        lines += found[0]
        scores += found[1]
    return lines, scores


def seconds(tables: dict[Job, pd.DataFrame]) -> dict[str, float]:
    """Seconds that the jobs of each kind took, whenever that was."""
    took: dict[str, float] = {}
    for job, table in tables.items():
        took[job.what] = took.get(job.what, 0.0) + float(table.attrs.get("seconds", 0.0))
    return took


def report(lines: list[Line], scores: list[Score], took: dict[str, float], out: Path) -> int:
    """Print and write the tables; 1 if a bar is missed."""
    text = "\n".join(_text(lines, scores, took)) + "\n"
    print(text, end="")
    failed = [line for line in lines if line.failed]
    content = {
        "passed": not failed,
        "lines": [plain(line) for line in lines],
        "scores": [asdict(score) for score in scores],
        "seconds": took,
    }
    (out / "payment.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (out / "payment.md").write_text(text, encoding="utf-8")
    return 1 if failed else 0


def _text(lines: list[Line], scores: list[Score], took: dict[str, float]) -> Iterator[str]:
    if scores:
        yield from markdown(SCORE_HEAD, (score.cells() for score in scores))
        yield ""
    yield from markdown(HEAD, (line.cells() for line in lines))
    yield ""
    barred = [line for line in lines if line.bar is not None]
    missed = sum(line.failed for line in barred)
    yield f"{len(barred) - missed} of {len(barred)} bars reached, {missed} missed."
    spent = ", ".join(f"{what} {value:.0f} s" for what, value in took.items())
    yield f"Time of the work, added up over processes: {spent}."


if __name__ == "__main__":
    sys.exit(main())
