from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import collectopt as co
from collectopt.exceptions import InputError, MissingExtraError
from collectopt.simulation import export, observing, world
from collectopt.simulation.calendar import Calendar
from collectopt.simulation.cases import Starts, single
from collectopt.simulation.kinds import KINDS, kind_of
from collectopt.simulation.noise import Noise
from collectopt.simulation.population import Population, draw_population
from collectopt.simulation.state import State

NAME = "collectopt.simulation.environment:collectopt/Collections-v0"
WAIT = np.zeros(4, dtype=np.int64)
Choice = Callable[[dict[str, Any]], Any]


def make(kind: str = "shop", weeks: int = 26, render_mode: str | None = None) -> Any:
    return co.simulation.CollectionsEnv(kind, weeks, book_accounts=300, render_mode=render_mode)


def wait(info: dict[str, Any]) -> Any:
    return WAIT


def email(info: dict[str, Any]) -> Any:
    return np.array([info["action_mask"][0][1], 0, 0, 4])


def loudest(info: dict[str, Any]) -> Any:
    """A friendly call where calls are allowed, else a letter, and so on."""
    return np.array([np.flatnonzero(info["action_mask"][0])[-1], 0, 0, 4])


def anything(env: Any) -> Choice:
    def choose(info: dict[str, Any]) -> Any:
        return env.action_space.sample(mask=info["action_mask"])

    return choose


def episode(env: Any, seed: int, choose: Choice) -> list[tuple[Any, ...]]:
    observation, info = env.reset(seed=seed)
    steps = [(observation, 0.0, False, False, info)]
    while not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(choose(steps[-1][4])))
    return steps


def live(state: State, weeks: int) -> None:
    for _ in range(7 * weeks):
        world.end_day(state)
        world.begin_day(state)


def test_gymnasium_finds_nothing_to_complain_about() -> None:
    env = gymnasium.make(NAME, kind="shop", weeks=8, book_accounts=300)
    check_env(env.unwrapped)  # a warning is an error here
    assert gymnasium.spec("collectopt/Collections-v0").entry_point.endswith("CollectionsEnv")


def test_without_gymnasium_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    env = co.simulation.CollectionsEnv
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(MissingExtraError, match=r"collectopt\[gym\]"):
        env()


def test_the_same_seed_twice_is_equal_and_another_is_not() -> None:
    first, second = make(weeks=12), make(weeks=12)
    for seed in range(3):
        one, two = episode(first, seed, email), episode(second, seed, email)
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert np.array_equal(a[0], b[0])
            assert a[1:4] == b[1:4]
    assert not np.array_equal(first.reset(seed=1)[0], first.reset(seed=2)[0])
    first.reset(seed=1)
    unseeded = [first.reset()[0] for _ in range(4)]
    assert len({value.tobytes() for value in unseeded}) > 1


def test_observations_stay_in_the_box_and_show_a_new_case() -> None:
    env = make(weeks=10)
    for seed in range(8):
        env.action_space.seed(seed)
        steps = episode(env, seed, anything(env))
        assert all(env.observation_space.contains(step[0]) for step in steps)
        assert all(not step[4]["refused"] for step in steps)
        start = dict(zip(env.observation_names, steps[0][0], strict=True))
        assert 0 < np.expm1(start["log_days_past_due"]) < 7.5
        assert start["may_be_contacted"] == 1
        assert start["contacts_28"] == 0
        assert start["week"] == 0


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_can_be_played(kind) -> None:
    env = co.simulation.CollectionsEnv(kind, weeks=6, book_accounts=80)
    rewards = []
    for seed in range(4):
        env.action_space.seed(seed)
        steps = episode(env, seed, anything(env))
        assert all(env.observation_space.contains(step[0]) for step in steps)
        assert steps[-1][4]["date"] > steps[0][4]["date"]
        rewards += [step[1] for step in steps]
    assert np.isfinite(rewards).all()
    assert max(rewards) > 0


def test_no_latent_trait_shows() -> None:
    """Whatever is hidden may change; what is seen does not."""
    env, rng = make(), np.random.default_rng(0)
    visible = {"consent", "business", "score", "lifetime_value", "since"}
    for seed in range(6):
        env.reset(seed=seed)
        for _ in range(3):
            observation, _, terminated, _, info = env.step(email({"action_mask": env._mask()}))
            if terminated:
                break
            state, before = env._state, env._observe()
            twin = state.fork()
            hidden = {f.name: getattr(state.people, f.name) for f in fields(Population)}
            for name, value in hidden.items():
                if name not in visible:
                    hidden[name] = ~value if value.dtype == bool else value * 0 + rng.integers(3)
            twin.people = Population(**hidden)
            twin.noise = Noise(99)
            for name in ("excitation", "fresh", "fatigue", "left", "no_plan_until"):
                getattr(twin, name)[:] = rng.integers(50)
            twin.tight[:] = ~twin.tight
            twin.claims.forgotten[:] = ~twin.claims.forgotten
            twin.claims.dispute_day[:] += 5
            twin.agenda.reads.clear()
            twin.agenda.kept_promises.clear()
            env._state = twin
            assert np.array_equal(env._observe(), before)
            assert np.array_equal(before, observation)
            env._state = state
            assert all(map(np.array_equal, env._mask(), info["action_mask"]))


def test_another_future_changes_nothing_before_it() -> None:
    env, differs = make(), 0
    for seed in range(5):
        usual = episode(env, seed, email)
        observation, info = env.reset(seed=seed)
        seen = [observation]
        for week in range(1, len(usual)):
            if week == 2:
                env._state.noise = Noise(1234)
            observation, _, terminated, _, info = env.step(email(info))
            seen.append(observation)
            if terminated:
                break
        for before, after in list(zip(usual, seen, strict=False))[:2]:
            assert np.array_equal(before[0], after)
        later = zip(usual[2:], seen[2:], strict=False)
        differs += any(not np.array_equal(a[0], b) for a, b in later)
    assert differs > 0


def test_only_rows_of_the_past_are_read() -> None:
    """Rows dated later, were they there already, would not show."""
    env = make()
    for seed in range(4):
        env.reset(seed=seed)
        env.step(email({"action_mask": env._mask()}))
        state, before = env._state, env._observe()
        claim = state.claims.append(1)
        for name, value in (("issued", state.day), ("due", state.day + 14), ("open", 5000)):
            getattr(state.claims, name)[claim] = value
        state.record.add(
            "contacts", np.array([0]), day=state.day, send_day=state.day + 1, hour=8.0, channel=0,
            tone=0, offer=0, propensity=1.0,
        )  # fmt: skip
        assert np.array_equal(env._observe(), before)


def test_an_account_cut_out_of_a_book_lives_on_as_it_would_have_in_it() -> None:
    """Account 0 keeps its luck when it is alone, so its life has to be the same."""
    payments = 0
    for seed in range(4):
        kind, noise = kind_of(sorted(KINDS)[-1 - seed % len(KINDS)]), Noise(seed)
        state = State(kind, draw_population(kind, 20, noise), noise, Calendar())
        world.begin_day(state)
        live(state, 16 + seed)
        alone = single(state, 0)
        live(state, 20)
        live(alone, 20)
        for table in ("invoices", "payments", "responses", "holds"):
            mine = state.record.ints(table, "account") == 0
            for name in ("day", "cents", "invoice", "number", "kind"):
                if state.record.parts[table] and name in state.record.parts[table][0]:
                    expected = state.record.ints(table, name)[mine]
                    assert np.array_equal(alone.record.ints(table, name), expected)
        payments += len(alone.record.ints("payments", "cents"))
    assert payments > 5


def test_the_reward_is_the_money_of_the_case_less_what_it_cost() -> None:
    env, checked = make(weeks=12), 0
    for seed in range(18):
        env.action_space.seed(seed)
        steps = episode(env, seed, anything(env))
        parts = ("cash", "contact_cost", "complaint_cost", "lifetime_value")
        for step in steps[1:]:
            assert step[1] == pytest.approx(sum(step[4][part] for part in parts))
        state, opened, rate = env._state, env._opened, 1 + env.catalogue.discount_rate
        payments, contacts = (state.record.column(t, "account") for t in ("payments", "contacts"))
        assert not payments.any()
        assert not contacts.any()
        tables = export.tables(state, env._costs, ("agent",))
        cost = tables["contacts"].to_pandas().cost.astype(float).to_numpy()
        day = state.record.ints("contacts", "day")
        spent = (cost * rate ** ((opened - day) / 365)).sum()
        assert sum(s[4]["contact_cost"] for s in steps[1:]) == pytest.approx(-spent)
        mine = np.isin(state.record.ints("payments", "invoice"), state.claims.number[env._case])
        mine &= state.record.ints("payments", "day") >= opened
        if not state.people.names_invoice[0] or state.claims.credited.any():
            continue
        # Money that came on the opening morning was in before the case was opened.
        mine &= (state.record.ints("payments", "day") > opened) | (
            state.record.floats("payments", "hour") > 6
        )
        when = state.record.ints("payments", "day")[mine] - opened
        cents = state.record.ints("payments", "cents")[mine]
        cash = (cents / 100 * rate ** (-when / 365)).sum()
        assert sum(s[4]["cash"] for s in steps[1:]) == pytest.approx(cash, rel=3e-4, abs=1e-9)
        checked += len(cents) > 0
    assert checked > 5


def test_cases_end_when_all_is_settled_or_after_the_last_week() -> None:
    short, ends = make(weeks=3), []
    for seed in range(20):
        steps = episode(short, seed, wait)
        _, _, terminated, truncated, _ = steps[-1]
        assert terminated != truncated
        assert truncated <= (len(steps) == 4)
        claims, rows = short._state.claims, short._case
        if terminated and not short._state.insolvent[0]:
            assert not (claims.open[rows] * ~claims.written_off[rows]).any()
        ends.append(terminated)
    assert 0 < sum(ends) < 20


def test_nothing_works_in_the_placebo_and_contacts_bring_money_in_the_shop() -> None:
    def cash(env: Any, seed: int, choose: Choice) -> float:
        return sum(step[4]["cash"] for step in episode(env, seed, choose)[1:])

    shop, placebo = make(weeks=8), make("placebo", weeks=8)
    for seed in range(6):
        assert cash(placebo, seed, email) == pytest.approx(cash(placebo, seed, wait))
    gain = np.array([cash(shop, seed, loudest) - cash(shop, seed, wait) for seed in range(40)])
    # On common luck most cases go the same way; of the others most go better: a test of signs.
    better, worse = (gain > 0.01).sum(), (gain < -0.01).sum()
    assert better - worse > 2 * np.sqrt(better + worse)


def test_a_forbidden_action_is_a_wait_and_is_said_to_be_one() -> None:
    env = make(weeks=6)
    firm = np.array([1, 2, 0, 0])  # the first contact has to be friendly
    refused = 0
    for seed in range(5):
        _, info = env.reset(seed=seed)
        assert info["action_mask"][1].tolist() == [1, 0, 0]
        one = env.step(firm)
        env.reset(seed=seed)
        two = env.step(WAIT)
        assert np.array_equal(one[0], two[0])
        assert one[1] == two[1]
        assert not two[4]["refused"]
        refused += one[4]["refused"]
    assert refused == 5
    for wrong in ([5, 0, 0, 0], [0, 0, 0], [-1, 0, 0, 0]):
        with pytest.raises(InputError, match="action"):
            env.step(np.array(wrong))


def test_contacts_go_out_on_days_and_hours_of_their_channel() -> None:
    env = make(weeks=20)
    sent = 0
    for seed in range(12):
        env.action_space.seed(seed)
        episode(env, seed, anything(env))
        record, calendar = env._state.record, env._state.calendar
        channel = record.ints("contacts", "channel")
        rows = zip(
            channel, record.ints("contacts", "send_day"), record.floats("contacts", "hour"),
            strict=True,
        )  # fmt: skip
        for code, day, hour in rows:
            if code >= 0:
                start, end = env.catalogue.channels[code].hours
                assert start <= hour < end
                assert not calendar.is_holiday(day)
                assert calendar.date(day).weekday() in env.catalogue.channels[code].weekdays
                sent += 1
    assert sent > 10


def test_the_history_can_be_read() -> None:
    env = make(weeks=5, render_mode="ansi")
    env.reset(seed=3)
    env.step(np.array([1, 0, 0, 2]))
    text = env.render()
    assert re.search(r"-> email, friendly|decided to wait", text)
    assert "invoice" in text
    assert make(weeks=5).render() is None


def test_customers_whom_contacts_drove_away_are_told_from_the_others(shop) -> None:
    state = shop._end
    left = state.left <= state.day
    assert 0 < state.driven.sum() < left.sum()
    assert left[state.driven].all()
    noise = Noise(1)
    quiet = State(kind_of("shop"), draw_population(kind_of("shop"), 400, noise), noise, Calendar())
    live(quiet, 10)
    assert (quiet.left <= quiet.day).any()
    assert not quiet.driven.any()


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(InputError, match="weeks"):
        make(weeks=0)
    with pytest.raises(InputError, match="kind"):
        make("circus")
    with pytest.raises(InputError, match="render_mode"):
        make(render_mode="human")
    with pytest.raises(InputError, match="open case"):
        make().step(WAIT)
    with pytest.raises(InputError, match="more accounts"):  # few single accounts have a start
        _ = [Starts("shop", accounts=1, seed=seed).all for seed in range(6)]
    assert len(observing.NAMES) == len(set(observing.NAMES))
