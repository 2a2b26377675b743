"""The guard of the next-best action: by hand, shown to bite, and open where effects cross."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from collectopt.evaluation import report
from collectopt.exceptions import InputError, NotFittedError
from collectopt.models.heldout import Slopes
from collectopt.policy import FixedLadder, NextBestAction, next_best, reasons
from collectopt.policy.guard import (
    SEGMENTS,
    Judged,
    Kept,
    Verdict,
    _judged,
    judge,
    moments,
    segments,
)
from collectopt.schema import Catalogue, Ledger, Snapshot

DAY = datetime(2026, 2, 2, 6, tzinfo=UTC)
CATALOGUE = Catalogue.from_dict(
    {
        "channels": [{"name": "email", "cost": 0.05}, {"name": "letter", "cost": 1.0}],
        "cadence_days": 1,
        "slots": {"hours": [9]},
        "tones": {"order": ["friendly", "firm"]},
        "timezone": "UTC",
    }
)


def slopes(individual=1.0, sd=0.2):
    return Slopes(
        np.array([[1.0, individual]]), np.diag([0.01, sd**2])[None], np.array([100])
    )  # fmt: skip


PARTS = {
    Kept.NOTHING: np.zeros(3),
    Kept.LADDER: np.array([-2.0, 3.0, 0.0]),
    Kept.ALIKE: np.array([-1.0, 3.0, 0.0]),
    Kept.INDIVIDUAL: np.array([-1.0, 3.0, 2.0]),
}


def test_decided_by_hand():
    sure = _judged("x", PARTS, slopes(), 0, 2.0)
    assert sure.kept is Kept.INDIVIDUAL
    assert sure.worth == {
        Kept.NOTHING: 0.0, Kept.LADDER: 1.0, Kept.ALIKE: 2.0, Kept.INDIVIDUAL: 4.0,
    }  # fmt: skip
    assert sure.gain == pytest.approx(2.0)
    assert sure.stderr == pytest.approx(0.4)  # 2 times the error of the slope
    # half of that is not enough where the slope is no surer
    assert _judged("x", PARTS, slopes(0.3), 0, 2.0).kept is Kept.ALIKE
    dear = {**PARTS, Kept.ALIKE: np.array([-9.0, 3.0, 0.0])}
    dear[Kept.INDIVIDUAL] = np.array([-3.0, 3.0, 2.0])
    assert _judged("x", dear, slopes(0.0), 0, 2.0).kept is Kept.LADDER
    dear[Kept.LADDER] = np.array([-8.0, 3.0, 0.0])
    dear[Kept.INDIVIDUAL] = np.array([-5.0, 3.0, 2.0])
    idle = _judged("x", dear, slopes(0.0), 0, 2.0)
    assert idle.kept is Kept.NOTHING
    assert idle.gain == pytest.approx(-2.0)


def test_what_counts_of_effects_by_segment():
    def one(kept, slope=(0.8, 0.5)):
        return Judged("x", kept, 1, slope, (0.1, 0.1), dict.fromkeys(Kept, 0.0), 0.0, 0.0)

    verdict = Verdict(
        (one(Kept.NOTHING), one(Kept.LADDER), one(Kept.ALIKE), one(Kept.INDIVIDUAL),
         one(Kept.INDIVIDUAL, (1.4, -0.2)))
    )  # fmt: skip
    ladder, share = verdict.of(np.arange(5))
    assert ladder.tolist() == [False, True, False, False, False]
    assert share.tolist() == [[0, 0], [0.8, 0.5], [0.8, 0], [0.8, 0.5], [1, 0]]
    assert Verdict.from_dict(verdict.to_dict()) == verdict


def test_moments_are_spread_and_crowded():
    as_of = np.repeat(np.arange(40), [30 if day % 2 else 5 for day in range(40)])
    found = [int(as_of[rows[0]]) for rows in moments(as_of, 4)]
    assert found == [1, 13, 25, 39]
    assert not list(moments(np.arange(100)))


def book(effect, n=900, seed=0, weeks=3):
    """A coin decides between a letter and nothing each week; what a letter adds to P(paid)."""
    rng = np.random.default_rng(seed)
    firm = rng.random(n) < 0.5
    ids = [f"{i:04d}" for i in range(n)]
    contacts, payments = [], []
    for week in range(weeks):
        at = DAY + timedelta(days=7 * week)
        for i, a in enumerate(ids):
            sent = rng.random() < 0.5
            contacts.append({
                "contact_id": f"{a}-{week}", "account_id": a, "decided_at": at,
                "sent_at": at + timedelta(hours=3), "channel": "letter" if sent else "none",
                "tone": "friendly" if sent else None, "propensity": 0.5,
            })  # fmt: skip
            if rng.random() < 0.25 + sent * effect[int(firm[i])]:
                payments.append({
                    "payment_id": f"P{a}{week}", "account_id": a, "amount": 40.0,
                    "paid_at": at + timedelta(days=float(rng.uniform(1, 6))),
                    "invoice_id": f"I{a}{week}",
                })  # fmt: skip
    return Ledger.from_frames(
        accounts=[
            {"account_id": a, "customer_type": "business" if f else "consumer", "country": "DE",
             "timezone": "UTC"}
            for a, f in zip(ids, firm, strict=True)
        ],
        invoices=[
            {"invoice_id": f"I{a}{week}", "account_id": a, "issued_on": "2026-01-02",
             "due_on": "2026-01-20", "amount": 40.0, "currency": "EUR"}
            for a in ids for week in range(weeks)
        ],
        contacts=contacts,
        payments=payments,
    )  # fmt: skip


@pytest.fixture(scope="module")
def crossing(kit):
    """Letters help with firms and do harm with consumers."""
    ledger = book((-0.15, 0.35))
    return NextBestAction(CATALOGUE, payment=kit.Payment()).fit(ledger, "2026-06-01"), ledger


def test_individual_effects_are_kept_where_they_cross(crossing):
    policy, ledger = crossing
    table = policy.guard_table().set_index("segment")
    used = table[table.decisions > 0]
    assert list(used.index) == [SEGMENTS[0], SEGMENTS[3]]
    firms, consumers = used.iloc[1], used.iloc[0]
    assert firms.kept == "individual effects"
    assert firms.gain > 2 * firms.stderr > 0
    assert consumers.kept in {"individual effects", "nothing"}
    assert consumers["worth of effects alike for everybody"] < 0
    sent = policy.decide(ledger, "2026-02-25").to_pandas().set_index("account_id").channel
    business = {a for a, kind in zip(ledger.accounts["account_id"].to_pylist(),
                                  ledger.accounts["customer_type"].to_pylist(), strict=True)
             if kind == "business"}  # fmt: skip
    asked = sent != "none"
    assert asked[sent.index.isin(business)].mean() > 0.9
    assert asked[~sent.index.isin(business)].mean() < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_without_differences_everybody_is_treated_alike(kit, seed):
    ledger = book((0.2, 0.2), seed=seed)
    policy = NextBestAction(CATALOGUE, payment=kit.Payment()).fit(ledger, "2026-06-01")
    table = policy.guard_table()
    assert set(table.kept[table.decisions > 0]) == {"effects alike for everybody"}


def test_what_is_left_to_the_ladder_is_the_ladders(crossing):
    policy, ledger = crossing
    one = policy.effects_.verdict.judged
    verdict = Verdict(tuple(replace(j, kept=Kept.LADDER) for j in one))
    kept = policy.effects_
    try:
        policy.effects_ = replace(kept, verdict=verdict)
        policy._seal_models()
        given = {name: policy.decide(ledger, "2026-02-25").to_pandas()[name]
                 for name in ("channel", "tone", "offer", "reasons")}  # fmt: skip
    finally:
        policy.effects_ = kept
        policy._seal_models()
    ladder = FixedLadder(CATALOGUE).decide(ledger, "2026-02-25").to_pandas()
    for name in ("channel", "tone", "offer"):
        assert given[name].equals(ladder[name])
    assert (ladder.channel != "none").any()
    said = [" ".join(reasons) for reasons in given["reasons"]]
    acted = (ladder.channel != "none").to_numpy()
    assert all("left it to the ladder. Step" in text for text in np.array(said)[acted])


class Believing:
    """A model of delay reasons that holds everybody for so much in distress."""

    def __init__(self, distress):
        self.distress = distress

    def predict(self, snapshot):
        return SimpleNamespace(
            distress=np.full(len(snapshot), self.distress), doubt=np.zeros(len(snapshot))
        )


@pytest.mark.parametrize(("distress", "firm"), [(0.0, True), (1.0, False)])
def test_the_guard_plays_no_firm_tone_in_distress(kit, monkeypatch, distress, firm):
    scenes = []

    def watched(held_out, snapshot, play, guard):
        def watching(rows, share):
            scenes.append(play(rows, share))
            return scenes[-1]

        return judge(held_out, snapshot, watching, guard)

    monkeypatch.setattr(reasons, "fitted", lambda ledger, as_of: Believing(distress))
    monkeypatch.setattr(next_best, "judge", watched)
    NextBestAction(CATALOGUE, payment=kit.Payment()).fit(book((0.2, 0.2)), "2026-06-01")
    tones = CATALOGUE.actions.tone[np.concatenate([s.played[Kept.LADDER] for s in scenes])]
    assert (tones >= 0).any()
    assert (tones == 1).any() == firm


def test_more_standard_errors_keep_individual_effects_in_fewer_segments(kit, crossing):
    _, ledger = crossing
    kept = []
    for guard in (0.0, 2.0, 1e6):
        policy = NextBestAction(CATALOGUE, payment=kit.Payment(), guard=guard)
        table = policy.fit(ledger, "2026-06-01").guard_table()
        individual = table.kept == Kept.INDIVIDUAL.value
        assert (table.gain[individual] > guard * table.stderr[individual]).all()
        kept.append(set(table.segment[individual]))
    assert kept[0] >= kept[1] >= kept[2] == set()
    assert kept[1], "these effects cross by far more than two standard errors"


@pytest.mark.parametrize("guard", [-0.1, float("nan"), float("inf"), "2", True])
def test_a_bar_that_is_none_is_named(guard):
    with pytest.raises(InputError, match="guard"):
        NextBestAction(CATALOGUE, guard=guard)


def test_segments_by_kind_and_lateness(crossing):
    _, ledger = crossing
    found = segments(Snapshot(ledger, "2026-02-25"))
    kind = ledger.accounts["customer_type"].to_numpy()[
        Snapshot(ledger, "2026-02-25").rows["account"].to_numpy()
    ]
    assert set(found) == {1, 4}
    assert ((found == 4) == (kind == "business")).all()
    assert SEGMENTS[4] == "firms, 31 to 90 days past due"


def test_the_report_tells_what_is_kept(tmp_path, crossing):
    guard = crossing[0].guard_table()
    page = report(tmp_path / "r.html", guard=guard).read_text(encoding="utf-8")
    assert "What the guard keeps" in page
    for text in (*guard.segment, *guard.kept):
        assert text in page


def test_nothing_to_judge_says_so(kit):
    with pytest.raises(NotFittedError):
        NextBestAction(CATALOGUE).guard_table()
    ledger = book((0.0, 0.0), n=60, weeks=1)
    policy = NextBestAction(CATALOGUE, payment=kit.Payment()).fit(ledger, "2026-06-01")
    assert policy.guard_table() is None
