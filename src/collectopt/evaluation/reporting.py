"""One HTML file that says how good the predictions are and what was decided."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import pandas as pd

from collectopt.evaluation import chapter_backtest, chapter_book, chapter_decisions
from collectopt.evaluation.keyfigures import Kpis, recovery_curve, roll_rates
from collectopt.evaluation.page import Card, Page, Section
from collectopt.evaluation.result import BacktestResult
from collectopt.exceptions import InputError
from collectopt.schema.atomic import atomic_file
from collectopt.schema.decisions import Decisions
from collectopt.schema.ledger import Ledger

_PACKAGES = ("collectopt", "numpy", "pandas", "pyarrow", "duckdb", "scikit-learn", "lightgbm")


def report(
    path: str | Path,
    *,
    title: str = "Collections report",
    backtest: BacktestResult | None = None,
    kpis: Kpis | None = None,
    decisions: Decisions | None = None,
    effects: pd.DataFrame | None = None,
    guard: pd.DataFrame | None = None,
    ledger: Ledger | None = None,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write a report as one HTML file with everything in it; parts not given are left out.

    Parameters
    ----------
    path : str or Path
        File to write; it appears whole or not at all.
    title : str
        Headline.
    backtest : BacktestResult, optional
        From :func:`~collectopt.evaluation.backtest`.
    kpis : Kpis, optional
        From :func:`~collectopt.evaluation.kpis`.
    decisions : Decisions, optional
        From a policy's ``decide``.
    effects : DataFrame, optional
        Estimated effects, one row a factor.
    guard : DataFrame, optional
        What is acted on by segment, from ``NextBestAction.guard_table``.
    ledger : Ledger, optional
        Adds the recovery curve, roll rates (with `kpis`) and the fingerprint of the data.
    facts : mapping of str to str, optional
        Further lines for the end of the report: versions, parameters, sources.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        Nothing was given to report on.
    """
    parts = (backtest, kpis, decisions, effects, guard)
    if all(part is None for part in parts):
        raise InputError.of(
            "report",
            None,
            expected="a backtest, kpis, decisions, effects or guard",
            found="none of them",
        )
    currency = kpis.currency if kpis is not None else "EUR"
    page = Page(
        title,
        _subtitle(ledger, kpis),
        tuple(_cards(backtest, kpis, decisions, currency)),
        tuple(_sections(backtest, kpis, decisions, (effects, guard), ledger)),
        {**_facts(ledger, decisions), **(facts or {})},
    )
    target = Path(path)
    text = page.html()
    with atomic_file(target) as part:
        part.write_text(text, encoding="utf-8")
    return target


def _cards(
    backtest: BacktestResult | None,
    kpis: Kpis | None,
    decisions: Decisions | None,
    currency: str,
) -> list[Card]:
    cards: list[Card] = []
    if kpis is not None:
        cards += chapter_book.kpi_cards(kpis)
    if backtest is not None:
        cards += chapter_backtest.backtest_cards(backtest)
    if decisions is not None:
        cards += chapter_decisions.decision_cards(decisions, currency)
    return cards


def _sections(
    backtest: BacktestResult | None,
    kpis: Kpis | None,
    decisions: Decisions | None,
    learnt: tuple[pd.DataFrame | None, pd.DataFrame | None],
    ledger: Ledger | None,
) -> list[Section]:
    sections, (effects, guard) = [], learnt
    if kpis is not None:
        curve = ageing = None
        if ledger is not None:
            at = kpis.as_of
            curve = recovery_curve(ledger, at, currency=kpis.currency)
            ageing = roll_rates(ledger, at, currency=kpis.currency)
        sections.append(chapter_book.kpi_chapter(kpis, curve, ageing))
    if backtest is not None:
        sections.append(chapter_backtest.backtest_chapter(backtest))
    if decisions is not None:
        currency = kpis.currency if kpis is not None else "EUR"
        sections.append(chapter_decisions.decision_chapter(decisions, currency))
    if effects is not None:
        sections.append(chapter_decisions.effects_chapter(effects))
    if guard is not None:
        currency = kpis.currency if kpis is not None else "EUR"
        sections.append(chapter_decisions.guard_chapter(guard, currency))
    return sections


def _subtitle(ledger: Ledger | None, kpis: Kpis | None) -> str:
    parts = []
    if ledger is not None:
        parts.append(
            f"{len(ledger.accounts):,} accounts, {len(ledger.invoices):,} invoices, "
            f"{len(ledger.payments):,} payments, {len(ledger.contacts):,} contacts"
        )
    if kpis is not None:
        parts.append(f"as of {kpis.as_of.astype('M8[D]')}")
    return " · ".join(parts)


def _facts(ledger: Ledger | None, decisions: Decisions | None) -> dict[str, str]:
    facts = {}
    if ledger is not None:
        facts["Data fingerprint"] = f"sha256 {ledger.fingerprint}"
    if decisions is not None and len(decisions):
        versions = sorted(set(decisions.table["policy_version"].to_pylist()))
        facts["Policy version"] = ", ".join(str(version) for version in versions)
    known = [f"{name} {_version(name)}" for name in _PACKAGES]
    facts["Versions"] = ", ".join([*known, f"Python {platform.python_version()}"])
    return facts


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
