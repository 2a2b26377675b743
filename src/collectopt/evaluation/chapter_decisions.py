"""The chapters on decisions and on the effects behind them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from collectopt.evaluation import plots
from collectopt.evaluation.page import Block, Card, Column, Picture, Section, Table
from collectopt.evaluation.words import money, percent, signed
from collectopt.schema.decisions import Decisions

WAIT = "none"


def decision_cards(decisions: Decisions, currency: str) -> list[Card]:
    """Headline of a run."""
    frame = decisions.to_pandas()
    acts = frame["channel"] != WAIT
    return [
        Card("Contacts decided", f"{int(acts.sum()):,}", f"of {len(frame):,} accounts; rest wait"),
        Card(
            "Expected gain",
            money(float(np.nansum(frame["value"])), currency),
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
    pair = [_uplift_block(acts)] if (acts["uplift"].fillna(0) != 0).any() else []
    if len(acts):
        blocks.append(Block(pair=(*pair, _propensity_block(frame))))
    blocks.append(Block(pair=(_reason_block(frame["reasons"]), _trace_block(frame["rule_trace"]))))
    return Section("The decisions", lead, verdict, strong, tuple(blocks))


def _decision_verdict(decisions: Decisions, acts: pd.DataFrame, currency: str) -> tuple[str, bool]:
    if not len(acts):
        return "No contact is worth its cost: everybody waits.", False
    cost, value = float(np.nansum(acts["cost"])), float(np.nansum(acts["value"]))
    if acts["value"].isna().all():
        text = f"{money(cost, currency)} of contacts; this policy puts no value on them."
        return text, not decisions.fallbacks
    text = f"{money(cost, currency)} of contacts are expected to be worth {money(value, currency)}"
    text += " net of all terms, compared with waiting."
    text += " These are expectations of the model, not measured effects."
    drawn = int(acts["reasons"].map(_drawn).sum())
    if drawn:
        text += f" {drawn:,} of them were drawn at random, to learn what works."
    if decisions.fallbacks:
        why = ", ".join(f"{name}: {count:,}" for name, count in decisions.fallbacks.items())
        text += f" Some accounts fell back to waiting ({why})."
    scarce = {name: price for name, price in decisions.prices.items() if price > 0}
    if scarce:
        listed = ", ".join(f"{name} {price:,.2f} {currency}" for name, price in scarce.items())
        text += f" One more unit of a scarce resource would be worth: {listed}."
    return text, not decisions.fallbacks


def _drawn(reasons: Sequence[str] | None) -> bool:
    return reasons is not None and any("at random" in reason for reason in reasons)


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
                signed(100 * float(part["uplift"].mean()), "+.2f", " pt"),
                signed(float(part["cost"].sum()), ",.2f"),
                signed(float(part["value"].sum(min_count=1)), ",.2f"),
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
    points = 100 * acts["uplift"].dropna().to_numpy(dtype=np.float64)
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
        kind for reasons in lists if reasons is not None for kind in set(map(pattern, reasons))
    )
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    columns = [Column("Reason"), Column("Accounts", number=True)]
    rows = [(name, f"{count:,}") for name, count in ordered[:10]]
    return Block("Most frequent reasons", table=Table.of(columns, rows))


def _trace_block(lists: Iterable[Sequence[str] | None]) -> Block:
    accounts: Counter[str] = Counter()
    actions: Counter[str] = Counter()
    for traces in lists:
        for trace in traces if traces is not None else ():
            code, _, rest = str(trace).partition(": ")
            number = re.match(r"\d+", rest)
            accounts[code] += 1
            actions[code] += int(number[0]) if number else 0
    columns = [Column("Rule"), Column("Accounts", number=True), Column("Actions", number=True)]
    ordered = sorted(accounts, key=lambda code: (-accounts[code], code))
    rows = [(code, f"{accounts[code]:,}", f"{actions[code]:,}") for code in ordered[:12]]
    return Block("What the rules refused", table=Table.of(columns, rows))


#: Where a sentence names an action, so that sentences of one kind count together.
_ACTIONS = (
    (r"(the next best), .*?, (would be)", r"\1 \2"),
    (r"(Waiting): .*? (would be worth)", r"\1: an action \2"),
    (r"(otherwise): .*\.$", r"\1: another action."),
    (r"(Chosen): .*\.$", r"\1."),
    (r"^(The table of tones shifts the tone by .*): instead of .*\.$", r"\1."),
    (r"^On hold since .* (\(HOLD_\w+\)\.)$", r"On hold, with a reason on record \1"),
)


def pattern(text: str) -> str:
    """Take numbers and actions out of a sentence, so that sentences of one kind count together.

    Codes such as "H01" keep their digits.

    Examples
    --------
    >>> pattern("open 1,204.50 EUR for 31 days (H01)")
    'open … EUR for … days (H01)'
    >>> pattern("Waiting is best: the next best, email, 08:00 today, would be worth -0.17 EUR.")
    'Waiting is best: the next best would be worth … EUR.'
    >>> pattern("On hold since 2026-02-01 until 2026-03-01, because goods broke (HOLD_DISPUTE).")
    'On hold, with a reason on record (HOLD_DISPUTE).'
    """
    for found, kept in _ACTIONS:
        text = re.sub(found, kept, text)
    return re.sub(r"(?<![\w.])[-+]?\d(?:[\d.,:]*\d)?%?(?!\w)", "…", text)


def effects_chapter(effects: pd.DataFrame) -> Section:
    """Estimated effects of the actions' factors, as the response model tells them."""
    numeric = {name for name in effects.columns if pd.api.types.is_numeric_dtype(effects[name])}
    columns = [
        Column(str(name).replace("_", " "), number=name in numeric) for name in effects.columns
    ]
    rows = [
        [_cell(value) for value in row]
        for row in zip(*(effects[name].tolist() for name in effects.columns), strict=True)
    ]
    lead = "What a contact changes, learned from logged choices with known propensities."
    blocks = [Block(table=Table.of(columns, rows))]
    if {"family", "level", "effect", "low", "high"} <= set(effects.columns):
        blocks.insert(0, _effects_block(effects))
    return Section("Effects of the actions", lead, blocks=tuple(blocks))


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _effects_block(effects: pd.DataFrame) -> Block:
    points = effects.assign(**{k: 100 * effects[k] for k in ("effect", "low", "high")})
    groups = {str(name): part for name, part in points.groupby("family", sort=False)}
    of = effects.attrs.get("of", "outcome")
    plot = plots.intervals(groups, unit=f"change by one contact, points of the {of}")
    caption = (
        "What one contact changes, with 95 % intervals; every other factor as usual in the log. "
        "Weak evidence is drawn to the average contact."
    )
    sure = int((effects["low"] > 0).sum())
    conclusion = f"{sure} of {len(effects)} intervals lie above zero."
    picture = Picture.of(plot, caption, conclusion=conclusion)
    return Block("By channel, tone, offer and hour", figure=picture)


def guard_chapter(guard: pd.DataFrame, currency: str) -> Section:
    """Tell what is acted on in each segment, and why, from ``NextBestAction.guard_table``."""
    lead = (
        "Four ways to act were played on moments of the log, each account with effects that were "
        "learnt from others. Worth is in "
        f"{currency} a decision against doing nothing, at effects as strong as they proved there."
    )
    columns = [
        Column("Segment"),
        Column("Acted on"),
        Column("Decisions", number=True),
        Column("Proved of effects alike", number=True),
        Column("Proved of individual ones", number=True),
        Column("Ladder", number=True),
        Column("Alike", number=True),
        Column("Individual", number=True),
        Column("Why"),
    ]
    rows = [
        (
            str(row["segment"]),
            str(row["kept"]),
            f"{row['decisions']:,}",
            _proved(row["slope"], row["slope_sd"]),
            _proved(row["slope_individual"], row["slope_individual_sd"]),
            signed(row["worth of the ladder"], "+.2f"),
            signed(row["worth of effects alike for everybody"], "+.2f"),
            signed(row["worth of individual effects"], "+.2f"),
            _why_kept(row["gain"], row["stderr"], currency),
        )
        for row in guard.to_dict("records")
    ]
    used = guard[guard["decisions"] > 0]
    kept = used["kept"].value_counts()
    said = ", ".join(f"{name} in {count}" for name, count in kept.items())
    return Section(
        "What the guard keeps",
        lead,
        f"Of {len(used)} segments with logged decisions: {said}.",
        blocks=(Block(table=Table.of(columns, rows)),),
    )


def _proved(slope: float, sd: float) -> str:
    return f"{percent(slope, 0)} ± {percent(sd, 0)}"


def _why_kept(gain: float, stderr: float, currency: str) -> str:
    change = f"{signed(gain, '+.2f')} ± {stderr:.2f} {currency}"
    return f"individual effects {change} over the best of the others"
