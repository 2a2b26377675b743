"""Effects, measured on both outcomes of every account and read off the log by propensities."""

from __future__ import annotations

import duckdb
import numpy as np
import pandas as pd
import pytest

from collectopt.exceptions import InputError
from collectopt.simulation import Book, world
from collectopt.simulation.kinds import TONES
from collectopt.simulation.trial import Arm, settled

# Cents open of what was past due and free at each decision, then and 28 days later.
PANEL = """
with owed as (
    select x.row, x.known_at as t, c.invoice, c.cents
    from x join claims c on c.account = x.account
        and c.due_at <= x.known_at and c.done_at >= x.known_at
    anti join holds h on h.invoice = c.invoice and h.known_at < x.known_at
        and x.known_at < least(h.to_at, h.ended_at, timestamptz '2100-01-01')
), rest as (
    select o.row, o.cents - coalesce(sum(s.cents) filter (s.known_at < o.t), 0) as now,
           o.cents - coalesce(sum(s.cents), 0) as later
    from owed o left join settlements s
        on s.invoice = o.invoice and s.known_at < o.t + interval 28 day
    group by o.row, o.invoice, o.cents
)
select row, sum(later) as later from rest where now > 0 group by row order by row
"""


def _panel(book: Book) -> pd.DataFrame:
    """Decisions with 28 days of future: channel, factors of the propensity, settled or not."""
    timeline = book.ledger().timeline
    x = timeline.contacts.to_pandas()[["account", "contact_id", "known_at", "channel"]]
    x = x.merge(book.truth.propensities.to_pandas(), on="contact_id")
    x = x[x.known_at + pd.Timedelta(days=28) <= pd.Timestamp(book.as_of)].reset_index(drop=True)
    x["row"] = np.arange(len(x))
    con = duckdb.connect(config={"threads": 1})
    con.register("x", x[["row", "account", "known_at"]])
    for name in ("holds", "settlements"):
        con.register(name, getattr(timeline, name))
    parts = timeline.settlements.to_pandas().groupby("invoice")
    claims = timeline.claims.to_pandas()[["account", "invoice", "cents", "due_at"]]
    unpaid = parts.cents.sum().reindex(claims.invoice).fillna(0).to_numpy() < claims.cents
    claims["done_at"] = parts.known_at.max().reindex(claims.invoice).array
    claims["done_at"] = claims.done_at.mask(unpaid, pd.Timestamp(book.as_of))
    con.register("claims", claims)
    later = con.execute(PANEL).fetchdf().set_index("row").later
    x["settled"] = (later.loc[x.row].to_numpy() == 0).astype(float)
    return x


def _contrast(book: Book, panel: pd.DataFrame, channel: str) -> tuple[float, float]:
    """Effect of a channel against waiting by inverse propensities, with clustered error."""
    may = book.ledger().accounts[f"{channel}_ok"].to_numpy(zero_copy_only=False)
    rows = panel[may[panel.account]]
    y, n = rows.settled.to_numpy(), len(rows)
    by = (rows.channel == channel).to_numpy() / (rows.p_contact * rows.p_channel).to_numpy()
    no = (rows.channel == "none").to_numpy() / rows.p_contact.to_numpy()
    treated, untreated = (by * y).sum() / by.sum(), (no * y).sum() / no.sum()
    influence = (by * (y - treated) - no * (y - untreated)) / n
    clustered = np.bincount(rows.account, weights=influence)
    return float(treated - untreated), float(np.sqrt((clustered**2).sum()))


def _pooled(book: Book, channels: tuple[str, ...]) -> tuple[float, float]:
    panel = _panel(book)
    effects = np.array([_contrast(book, panel, channel) for channel in channels])
    weight = effects[:, 1] ** -2
    return float((weight * effects[:, 0]).sum() / weight.sum()), float(weight.sum() ** -0.5)


def test_a_reminder_brings_two_to_four_points_by_inverse_propensities(shop: Book) -> None:
    effect, stderr = _pooled(shop, ("email", "sms", "letter"))
    assert effect > 3.5 * stderr
    assert 0.02 - 2 * stderr < effect < 0.04 + 2 * stderr


def test_nothing_works_in_a_placebo_by_inverse_propensities(placebo: Book) -> None:
    effect, stderr = _pooled(placebo, ("email", "sms", "letter", "phone"))
    assert abs(effect) < 3 * stderr
    assert stderr < 0.005


def test_true_effects_lie_where_trials_found_them(shop: Book) -> None:
    tones = [shop.effect("email", tone) for tone in TONES]
    reminder, stderr = np.mean([(t.mean, t.stderr) for t in tones], axis=0)
    assert 0.02 - 2 * stderr < reminder < 0.04 + 2 * stderr
    assert all(abs(t.mean - reminder) < 0.05 for t in tones)
    assert shop.effect("phone", hour=18.0).mean > reminder
    # The effect fades: those who were reminded would mostly have paid later.
    letter, later = shop.effect("letter"), shop.effect("letter", days=150)
    assert later.mean < letter.mean
    assert str(letter).startswith("+")


def test_instalments_help_the_distressed(shop: Book) -> None:
    state = shop._end
    distressed = np.flatnonzero(
        (shop.truth.type == "distressed") & state.flag(state.overdue_claims())
    )
    plain, offer = (
        settled(state, Arm(0, 0, code, 0, 10.0), distressed, 26 * 7).mean() for code in (0, 1)
    )
    assert offer > plain


def test_a_placebo_changes_nobody(placebo: Book) -> None:
    for arguments in (("email", "firm", "instalments"), ("phone", "firm", "instalments")):
        effect = placebo.effect(*arguments)
        assert effect.mean == 0.0
        assert effect.stderr == 0.0
        assert effect.n > 100
    harm = {"complained", "opted_out", "promised", "promise_broken", "plan_accepted"}
    assert not harm & set(placebo.ledger().responses["kind"].to_pylist())


def test_a_contact_may_not_move_what_is_not_due(shop: Book) -> None:
    """Nobody without anything past due is moved by the contacts of others or his own past."""
    state = shop._end.fork()
    world.end_day(state)
    late = state.flag(state.claims.active[state.claims.due[state.claims.active] < state.day])
    assert (state.excitation[~late] == 0).all()
    assert (state.excitation[late] > 0).any()


@pytest.mark.parametrize(
    "arguments",
    [("fax",), ("email", "angry"), ("email", "firm", "discount")],
)
def test_unknown_contacts(small: Book, arguments: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="one of"):
        small.effect(*arguments)


def test_days_out_of_range(small: Book) -> None:
    with pytest.raises(InputError, match="days"):
        small.effect("email", days=0)
