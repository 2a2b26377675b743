"""The chapter on the book: key figures, recovery curve, roll rates."""

from __future__ import annotations

import pandas as pd

from collectopt.evaluation import plots
from collectopt.evaluation.keyfigures import Kpi, Kpis
from collectopt.evaluation.page import Block, Card, Column, Picture, Section, Table
from collectopt.evaluation.words import money, percent

#: Figures that begin a group: stock, flow, recovery, effort.
_GROUPS = frozenset({"sales", "paid_on_time", "collected"})


def kpi_cards(kpis: Kpis) -> list[Card]:
    """Headline of the book."""
    rows = {row.name: row for row in kpis.rows}
    recovery = next((row for row in kpis.rows if row.name.startswith("recovery_")), None)
    cards = [
        Card(
            "Past due",
            money(kpis["past_due"], kpis.currency),
            f"{percent(kpis['past_due_share'])} of receivables, "
            f"{kpis['accounts_past_due']:,.0f} accounts",
        ),
        Card("DSO", rows["dso"].text, f"{rows['add'].text} of it late"),
    ]
    if recovery is not None:
        cards.append(Card(recovery.label, recovery.text, "of the amount overdue, matured claims"))
    return cards


def kpi_chapter(
    kpis: Kpis, curve: pd.DataFrame | None = None, ageing: pd.DataFrame | None = None
) -> Section:
    """Key figures with how each was computed, the recovery curve and roll rates."""
    columns = [Column("Figure"), Column("Value", number=True), Column("How", css="why")]
    rows = [(row.label, _kpi_text(row, kpis.currency), row.meaning) for row in kpis.rows]
    css = ["first" if row.name in _GROUPS else "" for row in kpis.rows]
    table = Table.of(columns, rows, css)
    blocks = [Block(table=table)]
    pair = []
    if curve is not None and curve["share"].notna().any():
        pair.append(Block("Recovery after the due date", figure=_recovery_picture(curve)))
    if ageing is not None and ageing["balance"].sum() > 0:
        pair.append(Block("Roll rates", table=_ageing_table(ageing, kpis.currency)))
    if pair:
        blocks.append(Block(pair=tuple(pair)))
    lead = (
        f"As of {kpis.moment} UTC; flows are those of the {kpis.days} days before. "
        "Recovery rates count only claims that have had the whole time."
    )
    return Section("The state of the book", lead, blocks=tuple(blocks))


def _kpi_text(row: Kpi, currency: str) -> str:
    return f"{row.text} {currency}" if row.unit == "money" and row.text != "–" else row.text


def _recovery_picture(curve: pd.DataFrame) -> Picture:
    known = curve.dropna(subset=["share"])
    last = known.iloc[-1]
    half = known[known["share"] >= last["share"] / 2]["days"].min()
    conclusion = (
        f"{percent(last['share'], 0)} comes in within {last['days']:.0f} days, half of that "
        f"within {half:.0f}."
    )
    return Picture.of(
        plots.recovery(curve),
        "Share of the amount that was open at the due date and has come in since, by days after "
        f"the due date; {last['claims']:,.0f} claims that are old enough for the whole curve.",
        conclusion=conclusion if last["share"] > 0 else "Nothing has come in.",
    )


def _ageing_table(ageing: pd.DataFrame, currency: str) -> Table:
    columns = [
        Column("Days past due, a period ago"),
        Column(f"Balance, {currency}", number=True),
        Column("Still open and a bucket later", number=True),
    ]
    rows = [
        (str(bucket), f"{balance:,.0f}", percent(float(rate)))
        for bucket, balance, rate in zip(
            ageing["bucket"], ageing["balance"], ageing["rate"], strict=True
        )
    ]
    return Table.of(columns, rows)
