"""Champion and challengers: stable arms, shared limits, one record, saved and replayed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from collectopt.exceptions import InputError
from collectopt.jobs import tasks
from collectopt.jobs.replaying import replay
from collectopt.policy import (
    Everybody,
    FixedLadder,
    NextBestAction,
    NoContact,
    Overrides,
    Random,
    Split,
    load,
)
from collectopt.schema import Catalogue, Ledger

NAMES = [f"C{i}" for i in range(4000)]


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue.from_dict(
        {
            "channels": [
                {"name": "email", "cost": 0.05, "capacity": 7},
                {"name": "letter", "cost": 1.2},
            ],
            "limits": {"budget": 20.0, "minutes": 10.0, "harshness": 8.0},
            "explore": 0.1,
            "exploration": {"budget": 5.0},
        }
    )


def split(catalogue, *shares, salt="may"):
    names = ("one", "two", "three", "four", "five")
    arms = {n: (NoContact(catalogue), s) for n, s in zip(names, shares, strict=False)}
    return Split(Everybody(catalogue), arms, salt=salt)


def test_shares_are_kept_and_arms_do_not_depend_on_company(catalogue):
    one = split(catalogue, 0.2, 0.1, 0.05)
    arms = one.arm_of(NAMES)
    for arm in one.arms:
        stderr = np.sqrt(arm.share * (1 - arm.share) / len(NAMES))
        assert (arms == arm.name).mean() == pytest.approx(arm.share, abs=4 * stderr)
    assert (one.arm_of(NAMES[::-1])[::-1] == arms).all()
    assert one.arm_of(NAMES[7:8])[0] == arms[7]
    other = split(catalogue, 0.2, 0.1, 0.05, salt="june").arm_of(NAMES)
    both = ((arms == "one") & (other == "one")).mean()
    assert both == pytest.approx(0.04, abs=4 * np.sqrt(0.04 * 0.96 / len(NAMES)))


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_a_challenger_that_grows_takes_from_the_champion_alone(catalogue, number):
    shares = [0.1, 0.15, 0.05, 0.1]
    before = split(catalogue, *shares).arm_of(NAMES)
    shares[number] += 0.1
    after = split(catalogue, *shares).arm_of(NAMES)
    moved = before != after
    assert moved.mean() == pytest.approx(0.1, abs=0.02)
    assert (before[moved] == "champion").all()
    assert len(set(after[moved])) == 1
    more = split(catalogue, *shares, 0.05).arm_of(NAMES)
    assert (after[more != after] == "champion").all(), "one more moves nobody else"


def test_limits_are_shared(catalogue):
    one = split(catalogue, 0.25, 0.1)
    parts = list(one.shared())
    assert sum(p.channels[0].capacity for p in parts) == 7
    assert [p.channels[0].capacity for p in parts] == [4, 2, 1]
    assert [p.limits.budget for p in parts] == pytest.approx([13.0, 5.0, 2.0])
    assert [p.limits.minutes for p in parts] == pytest.approx([6.5, 2.5, 1.0])
    assert [p.limits.harshness for p in parts] == pytest.approx([5.2, 2.0, 0.8])
    assert [p.exploration.budget for p in parts] == pytest.approx([3.25, 1.25, 0.5])
    assert all(p.channels[1].capacity is None for p in parts)


@pytest.mark.parametrize("own", [None, {}, {"budget": 400.0, "temperature": 2.0}])
def test_a_challenger_explores_within_its_part_of_the_budget(catalogue, own):
    other = {**catalogue.to_dict(), "exploration": own}
    two = NoContact(Catalogue.from_dict(other))
    part = list(Split(Everybody(catalogue), {"two": (two, 0.1)}, salt="may").shared())[1]
    assert part.exploration.budget == pytest.approx(0.5)
    assert part.exploration.temperature == (own or {}).get("temperature")
    back = list(Split(two, {"two": (Everybody(catalogue), 0.1)}, salt="may").shared())[1]
    assert back.exploration.budget == pytest.approx(40.0 if own else 0.5)


def test_people_may_name_what_a_challenger_lacks(catalogue):
    fewer = Catalogue.from_dict({**catalogue.to_dict(), "tones": {"order": ["friendly"]}})
    one = Split(Everybody(catalogue), {"two": (Everybody(fewer), 0.5)}, salt="may")
    names = [f"A{i}" for i in range(8)]
    due = {"issued_on": "2026-01-01", "due_on": "2026-01-15"}
    ledger = Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "consumer", "country": "DE"} for a in names],
        invoices=[{"invoice_id": a, "account_id": a, **due, "amount": 50.0, "currency": "EUR"}
                  for a in names],
    )  # fmt: skip
    signed = {"reason": "asked", "owner": "me", "from_on": "2026-02-01", "until": "2026-03-01"}
    for given in ({"kind": "amend", "new_tone": "firm"}, {"kind": "force", "tone": "firm"}):
        people = Overrides.from_rows([{"account_id": a, **given, **signed} for a in names])
        decisions = one.decide(ledger, "2026-02-05", overrides=people)
        for row, arm in zip(decisions.to_pandas().itertuples(), one.arms_of(ledger, names),
                            strict=True):  # fmt: skip
            said = " ".join(row.reasons)
            acts = row.channel != "none"
            assert ("has no such action" in said) == (arm == "two" and (acts or "Force" in said))
            assert row.tone == ("firm" if arm == "champion" else "friendly") or not acts
        assert {"friendly", "firm"} <= set(decisions.table["tone"].to_pylist())
        again = one.recheck(decisions, ledger, "2026-02-05", overrides=people)
        assert again.decisions.table.equals(decisions.table)


def test_bad_splits_are_refused(catalogue):
    champion, other = Everybody(catalogue), NoContact(catalogue)
    for arms, salt, match in (
        ({"a": (other, 1.2)}, "s", "a share from 0 to 1"),
        ({"a": other}, "s", r"\(policy, share\)"),
        ({"champion": (other, 0.1)}, "s", "names other than 'champion'"),
        ({}, "s", "1 to 8 of them"),
        ({"a": (other, 0.1)}, "", "some text that names the test"),
        ({"a": (other, 0.6), "b": (other, 0.6)}, "s", "a and b overlap"),
        ({"a": (other, 0.1), "b": (other, 0.1), "c": (other, 0.6)}, "s", "overlap|too large"),
        ({"a": (NoContact(Catalogue.default()), 0.1)}, "s", "the channels of the champion's"),
        ({"a": (Split(champion, {"b": (other, 0.1)}, "s"), 0.1)}, "s", "a policy that is no split"),
    ):
        with pytest.raises(InputError, match=match):
            Split(champion, arms, salt)


@pytest.fixture(scope="module")
def scene(kit):
    frames = kit.frames(
        11, n=70, explore=0.4, cadence_days=3, limits={"pre_due_days": 0, "budget": 9.0}
    )
    catalogue = frames.parsed()
    return frames, catalogue, frames.ledger()


def test_every_customer_is_decided_by_one_arm(kit, scene):
    frames, catalogue, ledger = scene
    learnt = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue, 0.2)
    ).fit(ledger, frames.as_of)
    arms = {"all": (Everybody(catalogue), 0.3), "draws": (Random(catalogue, 0.5), 0.3)}
    one = Split(learnt, arms, salt="a")
    decisions = one.decide(ledger, frames.as_of, rng=4)
    kit.check(frames, decisions)  # rules and limits hold for all together, accounts sorted
    rows = decisions.to_arrow().to_pylist()
    versions = {arm.name: arm.policy.version for arm in one.arms}
    plain = kit.Plain(frames)
    of_person = {}
    for row in rows:
        (name,) = {n for n, v in versions.items() if v == row["policy_version"]}
        assert row["reasons"][-1].startswith(f"Decided by {name} (")
        assert of_person.setdefault(plain.person(row["account_id"]), name) == name
    assert set(of_person.values()) == {"champion", "all", "draws"}
    assert decisions.explain(rows[0]["account_id"]).reasons[-1].startswith("Decided by ")
    assert one.recheck(decisions, ledger, frames.as_of).decisions.table.equals(decisions.table)


def test_an_arm_decides_as_its_policy_would(kit, scene):
    """Without shared limits and draws, an account gets what its arm's policy gives it."""
    frames, _, ledger = scene
    table = {**frames.catalogue, "limits": {"pre_due_days": 0}}
    table["channels"] = [
        {name: v for name, v in channel.items() if name != "capacity"}
        for channel in table["channels"]
    ]
    free = Catalogue.from_dict(table)
    one = Split(Everybody(free), {"ladder": (FixedLadder(free, days=(1, 5)), 0.5)}, salt="b")
    rows = one.decide(ledger, frames.as_of).to_arrow().to_pylist()
    names = one.arms_of(ledger, [r["account_id"] for r in rows])
    for name, policy in (("champion", one.arms[0].policy), ("ladder", one.arms[1].policy)):
        alone = {r["account_id"]: r for r in policy.decide(ledger, frames.as_of).table.to_pylist()}
        for row, arm in zip(rows, names, strict=True):
            if arm == name:
                other = alone[row["account_id"]]
                assert row["reasons"][:-1] == other.pop("reasons")
                assert {k: row[k] for k in other if row[k] == row[k]} == {
                    k: v for k, v in other.items() if v == v
                }


def test_a_saved_split_decides_and_replays_the_same(scene, tmp_path: Path):
    frames, catalogue, ledger = scene
    one = Split(Everybody(catalogue), {"draws": (Random(catalogue, 0.5), 0.5)}, salt="c")
    one.save(tmp_path / "split")
    again = load(tmp_path / "split")
    assert again.version == one.version
    assert repr(again) == repr(one)
    other = Split(Everybody(catalogue), {"draws": (Random(catalogue, 0.5), 0.4)}, salt="c")
    assert other.version != one.version
    first = one.decide(ledger, frames.as_of, rng=3).table
    assert again.decide(ledger, frames.as_of, rng=3).table.equals(first)

    ledger.to_parquet(tmp_path / "book")
    out, moment = tmp_path / "d.parquet", frames.as_of.isoformat()
    summary = tasks.decide(
        tmp_path / "book", tmp_path / "split", out, as_of=moment, seed=3, progress=Silent()
    )
    assert summary.facts["policy_version"] == one.version
    row = first.slice(5, 1)["decision_id"][0].as_py()
    found = replay(row, out, tmp_path / "book", tmp_path / "split", progress=Silent())
    assert found.same
    assert found.book_is_same


class Silent:
    """Shows nothing."""

    def step(self, text):
        del text
        return nullcontext()
