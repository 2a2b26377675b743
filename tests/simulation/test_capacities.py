from __future__ import annotations

import numpy as np
import pytest

from collectopt.schema import Catalogue
from collectopt.simulation.capacities import Terms, enforce
from collectopt.simulation.ladder import Plan

CHANNELS = [
    {"name": "email", "cost": 0.5},
    {"name": "letter", "cost": 1.0, "capacity": 2},
    {"name": "phone", "cost": 4.0, "minutes": 6},
]


def plan(*channels: int) -> Plan:
    n = len(channels)
    ones = np.ones(n, dtype=np.int64)
    return Plan(
        account=np.arange(n), channel=np.array(channels), tone=ones, offer=ones, day=ones,
        hour=np.full(n, 9.0), propensity=np.ones(n), parts=np.ones((n, 5)),
    )  # fmt: skip


def terms(**limits: float) -> Terms:
    return Terms.of(Catalogue.from_dict({"channels": CHANNELS, "limits": limits}))


def test_within_the_limits_nothing_changes() -> None:
    given = plan(0, 2, 2, 3, -1)
    kept, dropped = enforce(given, terms())
    assert kept is given
    assert dropped == 0


def test_the_first_come_by_the_order_of_the_decisions() -> None:
    kept, dropped = enforce(plan(2, 0, 2, 2, -1, 2), terms())
    assert dropped == 2
    assert kept.account.tolist() == [0, 1, 2, 4]


def test_a_channel_that_the_catalogue_does_not_have() -> None:
    kept, dropped = enforce(plan(1, 0, 1, 4), terms())
    assert dropped == 3
    assert kept.channel.tolist() == [0]


@pytest.mark.parametrize(
    ("budget", "accounts"),
    [(0.0, [3]), (0.5, [1, 3]), (4.5, [0, 1, 3]), (5.5, [0, 1, 2, 3]), (100.0, [0, 1, 2, 3, 4])],
)
def test_the_budget_goes_on_to_what_still_fits(budget: float, accounts: list[int]) -> None:
    kept, dropped = enforce(plan(3, 0, 2, -1, 3), terms(budget=budget))
    assert kept.account.tolist() == accounts
    assert dropped == 5 - len(accounts)


def test_the_minutes() -> None:
    kept, dropped = enforce(plan(3, 3, 0, 3), terms(minutes=12.0))
    assert kept.account.tolist() == [0, 1, 2]
    assert dropped == 1


def test_a_sum_of_cents_meets_its_budget_exactly() -> None:
    cheap = Catalogue.from_dict(
        {"channels": [{"name": "email", "cost": 0.1}], "limits": {"budget": 0.3}}
    )
    assert enforce(plan(0, 0, 0), Terms.of(cheap))[1] == 0  # 0.1 + 0.1 + 0.1 > 0.3 in binary
    assert enforce(plan(0, 0, 0, 0), Terms.of(cheap))[1] == 1
