"""Chapters of a report, each from one kind of result. Words follow the numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from collectopt.evaluation import plots
from collectopt.evaluation.keyfigures import Kpi, Kpis
from collectopt.evaluation.page import Block, Card, Cell, Column, Picture, Section, Table
from collectopt.evaluation.result import BacktestResult, horizon_title
from collectopt.schema.decisions import Decisions

WAIT = "none"
_SCORES = (("auc", 3, True), ("log_loss", 4, False), ("brier", 4, False), ("ece", 4, False))


def money(amount: float, currency: str = "EUR") -> str:
    """Write an amount for people.

    Examples
    --------
    >>> money(1234567.0), money(12.5)
    ('1,234,567 EUR', '12.50 EUR')
    """
    return f"{amount:,.0f} {currency}" if abs(amount) >= 1000 else f"{amount:,.2f} {currency}"


def percent(share: float, digits: int = 1) -> str:
    """Write a share in per cent; an en dash for NaN."""
    return "–" if np.isnan(share) else f"{100 * share:.{digits}f} %"


# --- probabilities ---------------------------------------------------------------------------


def backtest_cards(result: BacktestResult) -> list[Card]:
    """Headline of a backtest: ranking and calibration at the first horizon."""
    table = result.to_pandas()
    mine = table[table["forecaster"] == result.model].iloc[0]
    rival = table[
        (table["forecaster"] == result.rivals[0]) & (table["horizon"] == mine["horizon"])
    ].iloc[0]
    when = horizon_title(str(mine["horizon"]))
    return [
        Card(
            "Ranking (AUC)",
            f"{mine['auc']:.3f}",
            f"paid {when}; {result.rivals[0]}: {rival['auc']:.3f}",
        ),
        Card(
            "Calibration error",
            percent(mine["ece"]),
            f"mean gap of predicted and observed share, {when}",
        ),
    ]


def backtest_chapter(result: BacktestResult) -> Section:
    """Scores beside the rivals, calibration, and how it held over time."""
    verdict, strong = _verdict(result)
    cuts = ", ".join(str(cut.astype("M8[D]")) for cut in result.split.cuts)
    unit = "account" if result.level == "account" else "invoice"
    what = (
        "everything that was past due is paid in full"
        if result.event == "full" and result.level == "account"
        else "the claim is paid in full"
        if result.event == "full"
        else "a further payment comes in"
    )
    lead = (
        f"At each cut ({cuts}) everything was fitted on what was known before it, then asked for "
        f"the probability that {what}, for every {unit} that was open at later dates. Only "
        f"predictions whose horizon was over when the ledger ended are judged; "
        f"{_total(result.excluded.column('rows').to_pylist()):,} were left out. "
        f"{', '.join(result.rivals)} show what comes for free."
    )
    blocks = [
        Block("Scores on unseen data", table=_score_table(result)),
        Block("Log-loss saved against the rivals", figure=_gain_picture(result)),
        *([Block("How much comes in", table=_amount_table(result))] if len(result.amounts) else []),
        Block("Calibration", figure=_reliability_picture(result)),
        Block("Level over time", figure=_cut_picture(result)),
        Block(
            "Ranking",
            figure=Picture.of(
                result.plot_roc(),
                "ROC curves: how many payers are found when so many non-payers are flagged by "
                "mistake. The dashed line is guessing. For real payments .60 to .75 is usual; "
                "above .85 suspect that the future leaked in.",
            ),
        ),
    ]
    return Section("How far the probabilities can be trusted", lead, verdict, strong, tuple(blocks))


def _verdict(result: BacktestResult) -> tuple[str, bool]:
    gains = result.gains
    parts, strong = [], True
    for rival in result.rivals:
        part = gains[gains["rival"] == rival]
        better = int((part["lower"] > 0).sum())
        worse = int((part["upper"] < 0).sum())
        text = f"{rival} at {better} of {len(part)} horizons"
        parts.append(f"{text} (and loses at {worse})" if worse else text)
        strong &= better == len(part)
    text = f"{result.model} beats {' and '.join(parts)}: its log-loss is lower there and the "
    text += "95 % interval of the difference excludes zero. "
    mine = result.to_pandas()
    mine = mine[mine["forecaster"] == result.model]
    worst = mine.iloc[int((mine["predicted"] - mine["paid"]).abs().argmax())]
    gap = worst["predicted"] - worst["paid"]
    text += (
        f"Its mean probability is at most {100 * abs(gap):.1f} points off "
        f"({horizon_title(str(worst['horizon']))}: predicted {percent(worst['predicted'])}, "
        f"paid {percent(worst['paid'])})."
    )
    coverage = result.intervals.to_pandas()
    covered = np.average(coverage["coverage"], weights=coverage["n"]) if coverage["n"].sum() else 0
    if coverage["n"].sum() >= 100:
        text += (
            f" Its 80 % intervals of the time to payment held in {percent(covered, 0)} of cases."
        )
    return text, strong


def _score_table(result: BacktestResult) -> Table:
    columns = [
        Column("Paid"),
        Column("Forecaster"),
        Column("Predictions", number=True),
        Column("Observed", number=True),
        Column("Predicted", number=True),
        Column("AUC ↑", number=True),
        Column("Log-loss ↓", number=True),
        Column("Brier ↓", number=True),
        Column("Calibration error ↓", number=True),
    ]
    rows: list[list[str | Cell]] = []
    css = []
    for horizon, part in result.to_pandas().groupby("horizon", sort=False):
        for i, (_, row) in enumerate(part.iterrows()):
            cells: list[str | Cell] = [
                horizon_title(str(horizon)) if i == 0 else "",
                row["forecaster"],
                f"{row['n']:,}",
                percent(row["paid"]),
                percent(row["predicted"]),
            ]
            for name, digits, high in _SCORES:
                best = part[name].max() if high else part[name].min()
                text = "–" if np.isnan(row[name]) else f"{row[name]:.{digits}f}"
                cells.append(Cell(text, best=bool(row[name] == best) and name != "ece"))
            rows.append(cells)
            mine = row["forecaster"] == result.model
            css.append(" ".join(["first"] * (i == 0) + ["model"] * mine))
    return Table.of(columns, rows, css)


def _amount_table(result: BacktestResult) -> Table:
    columns = [
        Column("Horizon"),
        Column("Predictions", number=True),
        Column("Open amount", number=True),
        Column("Came in", number=True),
        Column("Expected", number=True),
        Column("Mean error of a share", number=True),
        Column("Same, for the mean share", number=True),
    ]
    rows = []
    for _, row in result.amounts.iterrows():
        shares = [percent(row[name]) for name in ("settled", "expected", "mae", "mae_mean")]
        name = horizon_title(str(row["horizon"]))
        rows.append([name, f"{row['n']:,.0f}", f"{row['open']:,.0f}", *shares])
    return Table.of(columns, rows)


def _gain_picture(result: BacktestResult) -> Picture:
    return Picture.of(
        result.plot_gains(),
        "Right of the line the model is better. Bars are 95 % intervals that allow for several "
        "predictions of one account; where a bar crosses the line the difference may be chance.",
    )


def _reliability_picture(result: BacktestResult) -> Picture:
    mine = result.reliability[result.reliability["forecaster"] == result.model]
    inside = (mine["lower"] <= mine["predicted"]) & (mine["predicted"] <= mine["upper"])
    return Picture.of(
        result.plot_reliability(),
        "Each point holds a tenth of the predictions. On the dashed line a predicted 30 % means "
        "that 30 % paid; above it the model was too pessimistic, below it too optimistic. Bars "
        "are 95 % Wilson intervals.",
        conclusion=f"In {int(inside.sum())} of {len(mine)} bins the prediction lies inside the "
        "interval of what came.",
    )


def _cut_picture(result: BacktestResult) -> Picture:
    return Picture.of(
        result.plot_by_cut(),
        "Share of payers predicted (blue) and seen (orange, 95 % interval) after each cut. A gap "
        "that grows from cut to cut means that payment habits drift and the model needs to be "
        "refitted more often.",
    )


# --- the book --------------------------------------------------------------------------------


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
    table = Table.of(
        columns, [(row.label, _kpi_text(row, kpis.currency), row.meaning) for row in kpis.rows]
    )
    blocks = [Block(table=table)]
    pair = []
    if curve is not None and curve["share"].notna().any():
        pair.append(Block("Recovery after the due date", figure=_recovery_picture(curve)))
    if ageing is not None and ageing["balance"].sum() > 0:
        pair.append(Block("Roll rates", table=_ageing_table(ageing, kpis.currency)))
    if pair:
        blocks.append(Block(pair=tuple(pair)))
    lead = (
        f"As of {_minute(kpis.as_of)} UTC; flows are those of the {kpis.days} days before. "
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


# --- decisions -------------------------------------------------------------------------------


def decision_cards(decisions: Decisions, currency: str) -> list[Card]:
    """Headline of a run."""
    frame = decisions.to_pandas()
    acts = frame["channel"] != WAIT
    return [
        Card("Contacts decided", f"{int(acts.sum()):,}", f"of {len(frame):,} accounts; rest wait"),
        Card(
            "Expected gain",
            money(float(frame["value"].sum()), currency),
            f"over waiting, after {money(float(frame['cost'].sum()), currency)} of contacts",
        ),
    ]


def decision_chapter(decisions: Decisions, currency: str) -> Section:
    """Show what was decided, for what value, why, and what the rules refused."""
    frame = decisions.to_pandas()
    acts = frame[frame["channel"] != WAIT]
    lead = (
        f"{len(frame):,} accounts with an open claim; {len(acts):,} are contacted or handed over, "
        f"{len(frame) - len(acts):,} wait. Value is in {currency} relative to waiting."
    )
    verdict, strong = _decision_verdict(decisions, acts, currency)
    blocks = [Block("By channel", table=_mix_table(frame, currency))]
    if len(acts):
        blocks.append(Block(pair=(_uplift_block(acts), _propensity_block(frame))))
    blocks.append(Block(pair=(_reason_block(frame["reasons"]), _trace_block(frame["rule_trace"]))))
    return Section("The decisions", lead, verdict, strong, tuple(blocks))


def _decision_verdict(decisions: Decisions, acts: pd.DataFrame, currency: str) -> tuple[str, bool]:
    if not len(acts):
        return "No contact is worth its cost: everybody waits.", False
    cost, value = float(acts["cost"].sum()), float(acts["value"].sum())
    text = f"{money(cost, currency)} of contacts are expected to be worth {money(value, currency)}"
    text += " net of all terms, compared with waiting."
    text += " These are expectations of the model, not measured effects."
    if decisions.fallbacks:
        why = ", ".join(f"{name}: {count:,}" for name, count in decisions.fallbacks.items())
        text += f" Some accounts fell back to waiting ({why})."
    scarce = {name: price for name, price in decisions.prices.items() if price > 0}
    if scarce:
        listed = ", ".join(f"{name} {price:,.2f} {currency}" for name, price in scarce.items())
        text += f" One more unit of a scarce resource would be worth: {listed}."
    return text, not decisions.fallbacks


def _mix_table(frame: pd.DataFrame, currency: str) -> Table:
    columns = [
        Column("Channel"),
        Column("Accounts", number=True),
        Column("Share", number=True),
        Column("P(pay), mean", number=True),
        Column("Uplift, mean", number=True),
        Column(f"Cost, {currency}", number=True),
        Column(f"Value, {currency}", number=True),
        Column("Most frequent form"),
    ]
    rows = []
    groups = sorted(frame.groupby("channel"), key=lambda pair: (-len(pair[1]), str(pair[0])))
    for channel, part in groups:
        rows.append(
            (
                "wait" if channel == WAIT else str(channel),
                f"{len(part):,}",
                percent(len(part) / len(frame)),
                percent(float(part["p_pay"].mean())),
                f"{100 * float(part['uplift'].mean()):+.2f} pt".replace("-", "\u2212"),
                f"{part['cost'].sum():,.2f}",
                f"{part['value'].sum():,.2f}".replace("-", "\u2212"),
                _form(part),
            )
        )
    return Table.of(columns, rows)


def _form(part: pd.DataFrame) -> str:
    forms = Counter(
        ", ".join(str(x) for x in pair if isinstance(x, str) and x != "none")
        for pair in zip(part["tone"], part["offer"], strict=True)
    )
    name, count = min(forms.items(), key=lambda pair: (-pair[1], pair[0]))
    return f"{name} ({percent(count / len(part), 0)})" if name else ""


def _uplift_block(acts: pd.DataFrame) -> Block:
    points = 100 * acts["uplift"].to_numpy(dtype=np.float64)
    plot = plots.histogram(points, unit="uplift, percentage points")
    caption = (
        "By how much the chosen action raises the probability that everything past due is paid, "
        "one count an account that is contacted."
    )
    conclusion = (
        f"Half of the contacts are expected to add {np.nanmedian(points):.1f} points or more."
    )
    picture = Picture.of(plot, caption, conclusion=conclusion)
    return Block("What the contacts are expected to change", figure=picture)


def _propensity_block(frame: pd.DataFrame) -> Block:
    values = frame["propensity"].to_numpy(dtype=np.float64)
    plot = plots.histogram(values, unit="propensity of the chosen action (log scale)", log=True)
    low = float(np.nanmin(values))
    caption = (
        "Probability with which exactly this action was drawn. Logged with every decision, it is "
        "what makes a later comparison with other policies fair; small values mean noisy ones."
    )
    picture = Picture.of(plot, caption, conclusion=f"The smallest is {low:.2g}.")
    return Block("Exploration", figure=picture)


def _reason_block(lists: Iterable[Sequence[str] | None]) -> Block:
    counts = Counter(
        pattern(reason) for reasons in lists if reasons is not None for reason in set(reasons)
    )
    columns = [Column("Reason"), Column("Accounts", number=True)]
    return Block("Most frequent reasons", table=Table.of(columns, _top(counts, 12)))


def _trace_block(lists: Iterable[Sequence[str] | None]) -> Block:
    counts = Counter(
        pattern(trace) for traces in lists if traces is not None for trace in set(traces)
    )
    columns = [Column("Rule"), Column("Accounts", number=True)]
    return Block("Rules that refused actions", table=Table.of(columns, _top(counts, 12)))


def pattern(text: str) -> str:
    """Replace the numbers in a sentence, so that sentences of one kind are counted together.

    Codes such as "H01" keep their digits.

    Examples
    --------
    >>> pattern("open 1,204.50 EUR for 31 days (H01)")
    'open … EUR for … days (H01)'
    """
    return re.sub(r"(?<![\w.])[-+]?\d[\d.,:]*\d|(?<![\w.])[-+]?\d\b", "…", text)


def _top(counts: Counter[str], most: int) -> list[tuple[str, str]]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return [(name, f"{count:,}") for name, count in ordered[:most]]


# --- effects ---------------------------------------------------------------------------------


def effects_chapter(effects: pd.DataFrame) -> Section:
    """Estimated effects of the actions' factors, as the response model tells them."""
    numeric = {name for name in effects.columns if pd.api.types.is_numeric_dtype(effects[name])}
    columns = [
        Column(str(name).replace("_", " "), number=name in numeric) for name in effects.columns
    ]
    rows = [
        [f"{row[name]:.4g}" if name in numeric else str(row[name]) for name in effects.columns]
        for _, row in effects.iterrows()
    ]
    lead = "What a contact changes, learned from logged choices with known propensities."
    return Section("Effects of the actions", lead, blocks=(Block(table=Table.of(columns, rows)),))


def _minute(moment: np.datetime64) -> str:
    return str(moment.astype("M8[m]")).replace("T", " ")


def _total(values: Sequence[int]) -> int:
    return int(sum(values))
