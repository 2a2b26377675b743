"""The chapter on probabilities: scores beside rivals, calibration, and how they held."""

from __future__ import annotations

import numpy as np

from collectopt.evaluation.page import Block, Card, Cell, Column, Picture, Section, Table
from collectopt.evaluation.result import BacktestResult, horizon_title
from collectopt.evaluation.words import percent

_SCORES = (("auc", 3, True), ("log_loss", 4, False), ("brier", 4, False), ("ece", 4, False))


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
        f"the probability that {what}, for {unit}s that were open at later dates. Only "
        f"predictions whose horizon was over when the ledger ended are judged; {_left_out(result)} "
        "left out. "
        f"{' and '.join(result.rivals)} show what comes for free."
    )
    several = len(result.split.folds) > 1
    blocks = [
        Block("Scores on unseen data", table=_score_table(result)),
        Block("Log-loss saved against the rivals", figure=_gain_picture(result)),
        *([Block("How much comes in", table=_amount_table(result))] if len(result.amounts) else []),
        Block("Calibration", figure=_reliability_picture(result)),
        *([Block("Level over time", figure=_cut_picture(result))] if several else []),
        Block(
            "Ranking",
            figure=Picture.of(
                result.plot_roc(),
                "ROC curves: how many payers are found when so many non-payers are flagged by "
                "mistake. The dashed line is guessing. Among real claims of one age .60 to .75 is "
                "usual; old and new claims together rank more easily. Where a rival is far behind "
                "an AUC above .85, suspect that the future leaked in.",
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


def _left_out(result: BacktestResult) -> str:
    number = int(sum(result.excluded["rows"].to_pylist()))
    return f"{number:,} were" if number else "none was"
