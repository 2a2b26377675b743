"""What the commands do, as functions: each takes paths, writes atomically, returns a summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from collectopt.evaluation import BacktestResult, backtest, kpis, report, rolling_cuts
from collectopt.exceptions import InputError
from collectopt.jobs.checking import stale
from collectopt.models import PaymentModel
from collectopt.policy import NextBestAction, load, sealing
from collectopt.policy.base import MARKER, Policy
from collectopt.policy.overrides import COLUMNS, Overrides
from collectopt.policy.provenance import provenance
from collectopt.policy.store import RecordStore
from collectopt.schema.atomic import atomic_file, check_folder
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.decisions import SCHEMA, Decisions
from collectopt.schema.fingerprints import fingerprints
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.times import to_instant

if TYPE_CHECKING:
    from collectopt.simulation import Result

#: Key of the metadata that says what a file of decisions was made of.
RUN = sealing.RUN


class Progress(Protocol):
    """Shows the steps of a long task."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """Show `text` while the block runs."""
        ...


class Ticker(Progress, Protocol):
    """Shows how far a step has come, too."""

    def tick(self, done: int, total: int, name: str) -> None:
        """Say that `done` of `total` parts are done."""
        ...


@dataclass(frozen=True)
class Summary:
    """What a command did.

    Attributes
    ----------
    facts : dict
        Plain values for the one-line summary.
    fallbacks : dict of str to int
        Accounts that could not be decided: reason -> how many.
    remarks : tuple of str
        What is no fault, but worth a word.
    """

    facts: dict[str, Any]
    fallbacks: dict[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def read_book(path: Path, catalogue: Catalogue | None = None) -> Ledger:
    """Read a folder of parquet files; raises InputError with every fault."""
    return Ledger.from_parquet(path, catalogue=catalogue)


def quality(ledger: Ledger, catalogue: Catalogue) -> dict[str, Any] | None:
    """Sum up the quality of the data as of the end of the book; None: nothing is open then.

    Returns
    -------
    dict or None
        See `DataQuality.summary`.
    """
    from collectopt.evaluation.splits import last_fact
    from collectopt.policy import data_quality

    try:
        end = last_fact(ledger)
    except InputError:  # a book without any fact
        return None
    found = data_quality(Snapshot(ledger, end), catalogue)
    return {**found.summary(), "score": round(found.summary()["score"], 4)} if len(found) else None


def train(
    book: Path,
    out: Path,
    *,
    catalogue: Catalogue,
    as_of: str,
    progress: Progress,
    track: str | None = None,
) -> Summary:
    """Fit the next-best-action policy and save it.

    Parameters
    ----------
    book : Path
        Folder of parquet files.
    out : Path
        Folder for the policy; it appears whole or not at all.
    catalogue : Catalogue
    as_of : str
        Nothing from then on is used.
    progress : Progress
    track : str or None
        URI of an MLflow tracking server or store; None: not tracked.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
    """
    check_folder(out, marker=MARKER)
    with progress.step("reading the book"):
        ledger = read_book(book, catalogue)
        cut = to_instant(as_of, catalogue.timezone)
    with progress.step("fitting"):
        policy = NextBestAction(catalogue).fit(ledger, as_of=cut)
    facts: dict[str, Any] = {
        "command": "train",
        "accounts": len(ledger.accounts),
        "as_of": f"{cut}Z",
        "policy_version": policy.version,
        "fingerprint": ledger.fingerprint,
        "out": str(out),
    }
    if track is not None:
        with progress.step("testing on earlier cuts, for the record"):
            facts |= _track(policy, ledger, cut, catalogue, track)
    with progress.step("saving"):
        policy.save(out)
    return Summary(facts)


def _track(
    policy: NextBestAction, ledger: Ledger, cut: np.datetime64, catalogue: Catalogue, uri: str
) -> dict[str, Any]:
    from collectopt import tracking

    result = try_backtest(ledger, catalogue.horizon_days, end=cut)
    run = tracking.log_training(
        policy,
        ledger,
        as_of=cut,
        uri=uri,
        name="collectopt-policy",
        backtest=result,
        kpis=kpis(ledger, cut),
    )
    return {"run_id": run.run_id, "model_uri": run.model_uri}


def try_backtest(
    ledger: Ledger, days: int, *, end: np.datetime64 | None = None
) -> BacktestResult | None:
    """Backtest at half, once and twice `days` on two cuts, or one.

    The model learns from 20,000 moments at most: enough to compare it, and quick.

    Returns
    -------
    BacktestResult or None
        None where the history is too short for a single cut.
    """
    horizons = [f"{max(days // 2, 1)}D", f"{days}D", f"{2 * days}D"]
    for n in (2, 1):
        try:
            split = rolling_cuts(ledger, n=n, every="60D", horizon=horizons[-1], end=end)
        except InputError:
            continue
        return backtest(_account_model, ledger, split, horizons)
    return None


def decide(
    book: Path,
    model: Path,
    out: Path,
    *,
    as_of: str,
    progress: Progress,
    seed: int = 0,
    resume: bool = False,
    overrides: Path | None = None,
    records: Path | None = None,
) -> Summary:
    """Decide for every account with an open claim and write the decisions.

    Parameters
    ----------
    book, model : Path
        Folder of parquet files; folder of a saved policy.
    out : Path
        Parquet file; it appears whole or not at all.
    as_of : str
    progress : Progress
    seed : int
        Seed of the exploration.
    resume : bool
        Keep `out` if it already holds exactly this run: same book, policy, time, seed, overrides.
    overrides : Path or None
        CSV or parquet file of what people decided. It is kept beside the decisions, so that these
        can be made again.
    records : Path or None
        Folder to which the run is added too, before `out` is written; see `RecordStore`. The run is
        decided again for it, whatever `out` holds.

    Returns
    -------
    Summary
        With fallbacks where accounts could not be decided.

    Raises
    ------
    InputError, ArtifactError
    """
    check_file(out)
    store = None if records is None else RecordStore(records)
    with progress.step("reading the policy"):
        policy = load(model)
    with progress.step("reading the book"):
        ledger = read_book(book, policy.catalogue)
        moment = to_instant(as_of, policy.catalogue.timezone)
    run = provenance(policy, ledger, moment, seed)
    given = None if overrides is None else read_overrides(overrides)
    if given is not None:
        run["overrides"] = given.digest
    # a finished file does not hold all that a record does
    found = _finished(out, run) if resume and store is None else None
    if found is None:
        with progress.step("deciding"):
            decisions = policy.decide(ledger, as_of=moment, rng=seed, overrides=given)
        with progress.step("writing"):
            if store is not None:
                inputs = fingerprints(ledger, decisions.table["account_id"], moment)
                store.append(decisions, run, given, inputs)
            _write(decisions, out, run, given)
        found = _Found(decisions.counts(), dict(decisions.fallbacks), float(value(decisions)))
    facts = {
        "command": "decide",
        "accounts": sum(found.counts.values()),
        "channels": found.counts,
        "value": round(found.value, 2),
        **{name: made for name, made in run.items() if isinstance(made, str | int)},
        "out": str(out),
    }
    old = stale(ledger, moment)
    return Summary(facts, found.fallbacks, () if old is None else (old,))


def check_file(out: Path) -> None:
    """Say at once whether a parquet file can be written there.

    Raises
    ------
    InputError
        It is a folder, or its name promises another kind of file.
    """
    if out.is_dir():
        raise InputError.of(str(out), None, expected="a file to write", found="a folder")
    if out.suffix.lower() in {".csv", ".json", ".xlsx", ".xls", ".html", ".txt"}:
        raise InputError.of(
            str(out),
            None,
            expected="a name with .parquet, which is what is written",
            found=out.suffix,
            hint="pandas.read_parquet(file).to_csv(...) gives a CSV.",
        )


def value(decisions: Decisions) -> float:
    """Sum the value of all decisions, EUR relative to waiting."""
    return float(np.nansum(decisions.table["value"].to_numpy()))


@dataclass(frozen=True)
class _Found:
    counts: dict[str, int]
    fallbacks: dict[str, int]
    value: float


def read_overrides(path: Path) -> Overrides:
    """Read what people decided from a CSV or parquet file.

    Raises
    ------
    InputError
        It is no such file, or some of it is wrong.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".csv":
            # text throughout: an account 007 stays one; spreadsheets begin with a mark (-sig)
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                _check_head(path, rows.fieldnames or ())
                return Overrides.from_rows(list(rows))
        if suffix in {".parquet", ".pq"}:
            return Overrides.from_frame(pq.read_table(path))
        found = f"a file named {path.name}"
    except (pa.ArrowException, UnicodeDecodeError) as error:
        found = str(error)[:80]
    hint = "A spreadsheet is saved as CSV UTF-8, with commas."
    expected = "a CSV or parquet file of overrides, named .csv or .parquet"
    raise InputError.of(str(path), None, expected=expected, found=found, hint=hint)


def _check_head(path: Path, names: Sequence[str]) -> None:
    """Refuse a CSV whose first line does not name columns, parted by commas."""
    if "account_id" in names and "kind" in names:
        return
    head = ",".join(names)
    parted = next((mark for mark in (";", "\t", "|") if mark in head), None)
    hint = "" if parted is None else f"Part the columns by commas, not by {parted!r}."
    raise InputError.of(
        str(path),
        None,
        expected=f"a first line with account_id, kind and more of {', '.join(COLUMNS)}",
        found=repr(head[:80]) if names else "an empty file",
        hint=hint,
    )


def _write(
    decisions: Decisions, out: Path, run: dict[str, Any], overrides: Overrides | None
) -> None:
    """Write decisions with what they were made of, so that a finished run is recognised."""
    entries: dict[str, Any] = {"run": run, "fallbacks": dict(decisions.fallbacks)}
    if overrides is not None:
        entries["overrides"] = overrides.to_rows()
    note = json.dumps(entries)
    table = decisions.table.replace_schema_metadata({RUN: note.encode()})
    with atomic_file(out) as part:
        pq.write_table(table, part)


def _finished(out: Path, run: dict[str, Any]) -> _Found | None:
    if not out.is_file():
        return None
    try:
        table = pq.read_table(out)
    except pa.ArrowException:
        return None
    note = json.loads((table.schema.metadata or {}).get(RUN, b"{}"))
    if note.get("run") != run:
        return None
    decisions = Decisions(table.replace_schema_metadata(None).cast(SCHEMA))
    return _Found(decisions.counts(), note["fallbacks"], value(decisions))


def evaluate(
    book: Path,
    model: Path,
    out: Path,
    *,
    progress: Progress,
    as_of: str | None = None,
) -> Summary:
    """Backtest the payment model, compute KPIs, decide as of the end, write one HTML report.

    Parameters
    ----------
    book, model : Path
    out : Path
        HTML file; it appears whole or not at all.
    progress : Progress
    as_of : str or None
        End of what is known; None: just after the last fact in the book.

    Returns
    -------
    Summary
    """
    with progress.step("reading"):
        policy = load(model)
        ledger = read_book(book, policy.catalogue)
    facts = write_report(out, ledger, policy, as_of=as_of, progress=progress)
    return Summary({"command": "evaluate", **facts, "out": str(out)})


def write_report(
    out: Path,
    ledger: Ledger,
    policy: Policy,
    *,
    progress: Progress,
    as_of: str | None = None,
    decisions: Decisions | None = None,
    title: str = "Collections report",
) -> dict[str, Any]:
    """Write the report of a book and a policy; give the headline numbers."""
    from collectopt.evaluation.splits import last_fact

    end = last_fact(ledger) if as_of is None else to_instant(as_of, policy.catalogue.timezone)
    with progress.step("testing on earlier cuts"):
        result = try_backtest(ledger, policy.catalogue.horizon_days, end=end)
    if decisions is None:
        with progress.step("deciding"):
            decisions = policy.decide(ledger, as_of=end)
    if result is None and len(decisions) == 0:
        raise InputError.of(
            "as_of", None, expected="a time with open claims before it", found=f"{end}Z"
        )
    with progress.step("writing the report"):
        figures = kpis(ledger, end)
        learnt = policy if isinstance(policy, NextBestAction) else None
        report(
            out,
            title=title,
            backtest=result,
            kpis=figures,
            decisions=decisions,
            effects=None if learnt is None else learnt.effects_table(),
            guard=None if learnt is None else learnt.guard_table(),
            ledger=ledger,
        )
    metrics = {} if result is None else {k: round(v, 4) for k, v in result.metrics().items()}
    return {"as_of": f"{end}Z", "accounts": len(ledger.accounts), "metrics": metrics}


def simulate(
    kind: str,
    model: Path | None,
    out: Path | None,
    *,
    weeks: int,
    accounts: int,
    seed: int,
    seeds: int,
    progress: Ticker,
) -> Result:
    """Let the fixed ladder and a saved policy live in the same simulated world.

    Parameters
    ----------
    kind : str
        Kind of book.
    model : Path or None
        Folder of a saved policy; None: the ladder alone.
    out : Path or None
        HTML file; it appears whole or not at all.
    weeks, accounts, seed, seeds : int
        Length of the run, size and seed of the book, replicates.
    progress : Ticker

    Returns
    -------
    Result

    Raises
    ------
    InputError, ArtifactError
    """
    from collectopt.policy import FixedLadder
    from collectopt.simulation import Book

    if out is not None and out.is_dir():
        raise InputError.of(str(out), None, expected="a file to write", found="a folder")
    book = Book(kind, accounts=accounts, seed=seed)
    saved = [] if model is None else [load(model)]
    with progress.step("simulating the past"):
        end = book.as_of
    ladder = FixedLadder(book.catalogue)
    with progress.step(f"living on from {end.date()}"):
        result = book.run([ladder, *saved], weeks, seeds, tick=progress.tick)
    if out is not None:
        with progress.step("writing the report"):
            result.to_html(out)
    return result


def _account_model() -> PaymentModel:
    return PaymentModel(event="full", levels=("account",), max_rows=20_000)
