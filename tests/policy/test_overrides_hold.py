"""Over random books and overrides: law, stop and hold stand, and people get what they say."""

from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from collectopt.exceptions import InputError
from collectopt.models.external import Followed, Lift, Place
from collectopt.policy import NextBestAction, Overrides
from collectopt.policy.handover import Outside
from collectopt.rules import Layout, Rules, State
from collectopt.schema import ActionKind, Catalogue, Ledger, Snapshot

SEEDS = st.integers(0, 10**6)
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)  # a book does not shrink
SPECIAL = ("none", "stop", "agency", "court")
TONES = ("friendly", "neutral", "firm")


def random_overrides(frames, rng, share=0.7):
    """Overrides and approvals of some accounts; what would contradict is left out."""
    catalogue = frames.parsed()
    offers = catalogue.offers.names
    special = ["wait", "stop", *(["agency"] if catalogue.agency else [])]
    rows = []
    for account in frames.tables["accounts"]:
        mine = []
        while rng.random() < share:
            row = {
                "account_id": account["account_id"],
                "kind": str(rng.choice(["force", "force", "forbid", "amend", "tone_offset"])),
                "reason": "the customer asked for it", "owner": "j.doe",
                "from_on": frames.as_of.date() - timedelta(days=int(rng.integers(-1, 9))),
                "until": frames.as_of.date() + timedelta(days=int(rng.integers(0, 9))),
            }  # fmt: skip
            if row["kind"] in {"force", "forbid"} and rng.random() < 0.3:
                row["action"] = str(rng.choice(special))
                if row["action"] == "wait":
                    row["kind"] = "force"
                if row["action"] == "agency" and rng.random() < 0.5:
                    row["kind"] = "approve"
            else:
                for name, names in (
                    ("channel", catalogue.channel_names),
                    ("tone", TONES),
                    ("offer", offers),
                ):
                    if rng.random() < 0.4:
                        row[name] = str(rng.choice(names))
            if row["kind"] == "amend":
                row["new_tone"] = str(rng.choice(TONES))
            if row["kind"] == "tone_offset":
                row["steps"] = int(rng.choice([-2, -1, 1, 2]))
            try:
                Overrides.from_rows([*mine, row])
            except InputError:
                continue
            mine.append(row)
        rows += mine
    return Overrides.from_rows(rows)


def next_best(kit, frames, missing=0):
    catalogue = frames.parsed()
    policy = NextBestAction(
        catalogue, payment=kit.Payment(missing=missing), response=kit.Response(catalogue, 0.2)
    )
    return policy.fit(frames.ledger(), frames.as_of)


def checked(kit, seed, rng):
    """Decide with overrides, hold the decisions against all that must be so, and count."""
    frames = kit.frames(seed)
    overrides = random_overrides(frames, np.random.default_rng(seed + 1))
    policy, ledger = next_best(kit, frames, missing=seed % 3), frames.ledger()
    decisions = policy.decide(ledger, frames.as_of, rng=rng, overrides=overrides)
    rows = decisions.to_arrow().to_pylist()
    book = kit.Plain(frames)
    held = {a: overrides.at(a, book.today(a)) for a in book.account}
    loose = {a for a, own in held.items() if any(o.kind.value != "forbid" for o in own)}
    approved = {a for a in book.account if overrides.approved(a, book.today(a))}
    tone, external = book.check_tone, book.check_external
    book.check_tone = lambda a, t: None if a in loose else tone(a, t)

    snapshot = Snapshot(ledger, frames.as_of)
    layout = Layout.of(policy.catalogue.actions)
    state = policy._aware(snapshot, State.of(snapshot, policy.catalogue, layout))
    law = Rules.from_catalogue(policy.catalogue).lawful
    free = law.evaluate(state, layout, slice(0, len(state))).allowed
    unlocked = law.without({"APPROVAL"} & set(law.codes))
    unlocked = unlocked.evaluate(state, layout, slice(0, len(state))).allowed

    count, forced_rows, sent = Counter(), [], []
    for i, row in enumerate(rows):
        a = row["account_id"]
        k = played(policy.catalogue.actions, row)
        lawful = unlocked[i] if a in approved else free[i]
        assert lawful[k].any(), "an action that the law refuses"
        if row["channel"] not in SPECIAL:
            book.check_contact(row)
            sent.append(row)
        elif row["channel"] == "agency":
            book.check_customer(a)
            if a not in loose and a not in approved:
                external(row)
            count["agency"] += 1
        assert row["policy_version"] == ("override:" if held[a] else "") + policy.version
        demanded = np.ones(len(layout.actions), dtype=bool)
        for o in held[a]:
            assert any(str(o) in line for line in row["rule_trace"])
            if o.kind.value == "force":
                demanded &= o.concerns(layout.actions)
            if o.kind.value == "forbid":
                assert not o.concerns(layout.actions)[k].any(), "what people forbid was done"
                lawful = lawful & ~o.concerns(layout.actions)
        if held[a]:
            assert row["propensity"] == 1
            assert not any("Drawn at random" in why for why in row["reasons"])
        if any(o.kind.value == "force" for o in held[a]):
            possible = bool((demanded & lawful).any())
            assert possible != any("stopped by" in line for line in row["rule_trace"])
            if possible:
                assert demanded[k].any(), "what people force was not done"
                forced_rows.append(row)
            count["played" if possible else "stopped"] += 1
    check_shared(book, sent, [r["account_id"] for r in forced_rows])
    return count


def played(actions, row):
    """Mark the actions that a decision may be, whatever its slot."""
    if row["channel"] in SPECIAL:
        kinds = {kind.channel: kind for kind in ActionKind if kind is not ActionKind.CONTACT}
        return actions.kind == kinds[row["channel"]]
    code = [getattr(actions, n + "s").index(row[n]) for n in ("channel", "tone", "offer")]
    same = np.column_stack([actions.channel, actions.tone, actions.offer]) == code
    return actions.is_contact & same.all(axis=1)


def check_shared(book, sent, forced):
    """Limits hold but for what is forced, and then nobody else gets any."""
    people = {book.person(a) for a in forced}
    book.check_cap([r for r in sent if book.person(r["account_id"]) not in people])
    limits = book.catalogue["limits"]
    by_hand = [r for r in sent if r["account_id"] in forced]
    minutes = {c["name"]: c.get("minutes", 0) for c in book.catalogue["channels"]}
    uses = [(limits.get("budget"), lambda r: r["cost"])]
    uses.append((limits.get("minutes"), lambda r: minutes[r["channel"]]))
    for c in book.catalogue["channels"]:
        uses.append((c.get("capacity"), lambda r, n=c["name"]: r["channel"] == n))
    for limit, use in uses:
        if limit is not None:
            assert sum(map(use, sent)) <= max(limit, sum(map(use, by_hand))) + 1e-6


@settings(max_examples=8, deadline=None, derandomize=True, phases=NO_SHRINKING)
@given(seed=SEEDS, rng=st.integers(0, 5))
def test_law_stands_and_people_get_what_they_say(kit, seed, rng):
    checked(kit, seed, rng)


def test_the_random_overrides_bite(kit):
    # else the test above would prove nothing
    count = sum((checked(kit, seed, 0) for seed in range(4)), Counter())
    assert count["played"] > 15
    assert count["stopped"] > 6


@settings(max_examples=2, deadline=None, derandomize=True, phases=NO_SHRINKING)
@given(seed=SEEDS)
def test_without_overrides_that_hold_nothing_changes(kit, seed):
    frames = kit.frames(seed)
    policy, ledger = next_best(kit, frames), frames.ledger()
    plain = policy.decide(ledger, frames.as_of, rng=3)
    over = random_overrides(frames, np.random.default_rng(seed))
    over = Overrides(tuple(o for o in over.overrides if o.until <= frames.as_of.date()
                           - timedelta(days=1)))  # fmt: skip
    for none in (None, Overrides(), over):
        again = policy.decide(ledger, frames.as_of, rng=3, overrides=none)
        assert again.table.equals(plain.table)
        assert again.prices == plain.prices


@settings(max_examples=2, deadline=None, derandomize=True, phases=NO_SHRINKING)
@given(seed=SEEDS)
def test_the_order_of_overrides_and_rows_changes_nothing(kit, seed):
    frames = kit.frames(seed)
    policy = next_best(kit, frames)
    over = random_overrides(frames, np.random.default_rng(seed))
    back = Overrides(over.overrides[::-1], over.approvals[::-1])
    one = policy.decide(frames.ledger(), frames.as_of, rng=3, overrides=over)
    again = Overrides.from_frame(over.to_frame())
    assert policy.decide(frames.ledger(), frames.as_of, rng=3, overrides=again).table.equals(
        one.table
    )
    two = policy.decide(frames.ledger(7), frames.as_of, rng=3, overrides=back)
    names = ["account_id", "channel", "tone", "offer", "send_at", "propensity", "decision_id"]
    assert two.table.select(names).equals(one.table.select(names))


@pytest.mark.parametrize("seed", [1, 4, 11, 12])
def test_nothing_is_stopped_by_itself_before_sending(kit, seed):
    frames = kit.frames(seed)
    over = random_overrides(frames, np.random.default_rng(seed), share=0.4)
    policy, ledger = next_best(kit, frames), frames.ledger()
    decisions = policy.decide(ledger, frames.as_of, overrides=over)
    found = policy.recheck(decisions, ledger, frames.as_of, overrides=over)
    assert found.stopped.to_pylist() == []
    assert len(found.decisions) == len(decisions)


LEVEL = {"friendly": 0, "neutral": 1, "firm": 2, None: 0}
BEYOND = "It is done beyond the limits, which had no room left."


def by_hand(overrides, book, account):
    kinds = {o.kind.value for o in overrides.at(account, book.today(account))}
    return bool(kinds & {"force", "amend", "tone_offset"})


@pytest.mark.parametrize("seed", range(10))
def test_harshness_is_within_the_limit_wherever_the_orders_alone_are(kit, seed):
    house = {"first_contact_gentle": False, "max_tone_step": 2, "min_contacts_before_agency": 2}
    frames = kit.frames(2_000 + seed, n=60, house=house)
    limit = frames.catalogue["limits"]["harshness"] = (3, 8)[seed % 2]
    frames.catalogue["explore"] = (0.0, 0.3, 1.0)[seed % 3]
    overrides = random_overrides(frames, np.random.default_rng(seed), share=0.4)
    catalogue, ledger = frames.parsed(), frames.ledger()
    policy = NextBestAction(
        catalogue, payment=kit.Payment(), response=kit.Response(catalogue, 0.2)
    ).fit(ledger, frames.as_of)
    found = policy.decide(ledger, frames.as_of, rng=seed, overrides=overrides)
    rows, book = found.to_arrow().to_pylist(), kit.Plain(frames)
    own = sum(LEVEL[r["tone"]] for r in rows if by_hand(overrides, book, r["account_id"]))
    total = sum(LEVEL[r["tone"]] for r in rows)
    assert total <= max(limit, own)
    beyond = any(BEYOND in r["reasons"] for r in rows)
    assert beyond or own <= limit


NUMBERS = ("p_pay", "p_pay_if_wait", "expected_recovery", "uplift", "cost", "value", "propensity")


WAYS = {"agency": {"fee": 0.2, "notice_days": 0}, "court": {}, "stop": {"keep_cost": 1.0}}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tones", [[], [{"offset": 1}]])
@pytest.mark.parametrize("more", ["", "ways"])
def test_one_decision_at_a_time_obeys_as_a_run_does(kit, seed, tones, more):
    frames = kit.frames(seed, n=4, explore=0.2)
    plain = {**frames.catalogue, "house": {"tones": tones}, **(WAYS if more == "ways" else {})}
    catalogue = Catalogue.from_dict(plain)
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue)).fit(
        frames.ledger(), frames.as_of
    )
    if more == "ways":
        followed = Followed(np.ones(9), np.full(9, 0.2), np.arange(9), np.full(9, 90.0), np.ones(9))
        policy.outside_ = Outside(dict.fromkeys(Place, Lift.of(followed, None)), 0.02)
    overrides = random_overrides(frames, np.random.default_rng(seed))
    fast, kinds = policy.prepare(), Counter()
    for account in kit.Plain(frames).with_open_claim():
        rows = {name: [r for r in table if r["account_id"] == account]
                for name, table in frames.tables.items()}  # fmt: skip
        ledger = Ledger.from_frames(**{name: mine for name, mine in rows.items() if mine})
        mine = Overrides(
            tuple(o for o in overrides.overrides if o.account_id == account),
            tuple(a for a in overrides.approvals if a.account_id == account),
        )
        [row] = policy.decide(ledger, frames.as_of, 3, overrides=mine).table.to_pylist()
        record = fast.records(ledger, frames.as_of)[account]
        choice = fast.decide(record, rng=3, overrides=mine)
        for name, found in vars(choice).items():
            if name in NUMBERS:
                assert found == pytest.approx(row[name], rel=1e-11, abs=1e-13, nan_ok=True), name
            elif name != "terms":
                assert (list(found) if isinstance(found, tuple) else found) == row[name], name
        kinds += Counter(line.split(":")[0] for line in choice.rule_trace)
    assert kinds["OVERRIDE"]
    assert bool(kinds["TONE_OFFSET"]) <= bool(tones)


def test_one_decision_refuses_orders_that_are_none(kit):
    frames = kit.frames(1, n=3)
    catalogue = frames.parsed()
    policy = NextBestAction(catalogue, payment=kit.Payment(), response=kit.Response(catalogue)).fit(
        frames.ledger(), frames.as_of
    )
    fast = policy.prepare()
    record = next(iter(fast.records(frames.ledger(), frames.as_of).values()))
    with pytest.raises(InputError, match="Overrides or None"):
        fast.decide(record, overrides="force")
