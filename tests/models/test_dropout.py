"""Leaving against known truth: customers who leave anyway, and those whom contacts drive away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from collectopt.models.dropout import Weeks, fit_drop_out

CHANCE = np.array([0.0, 0.3, 0.4, 0.5, 0.5, 0.5, 0.5])  # of a contact, by weeks past due
FIRM = np.array([0.0, 0.1, 0.3, 0.5, 0.6, 0.6, 0.6])  # of those, in a firm tone
PRIOR = np.array([0.0005, 0.0015])
LOOSE, TIGHT = np.eye(2) * 0.05**2, np.diag(PRIOR**2)


def world(
    seed, effect, *, accounts=4000, weeks=60, monthly=True, unpaid=False, base=0.004, frailty=1.0
):
    """Invoices, lateness and contacts of customers who leave, with or without a contact.

    Late customers are twice as likely to leave; those five weeks late are not served. With
    ``unpaid`` who has left does not pay the last bills, and is reminded of them for a long time.
    Customers differ in how readily they leave, with variance ``frailty``.
    """
    rng = np.random.default_rng(seed)
    shape = (accounts, weeks)
    invoices, state = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    contacts = np.zeros((*shape, 2))
    rate, frail = 0.2 * rng.gamma(2.0, 0.5, accounts), rng.gamma(1.0 / frailty, frailty, accounts)
    bill, late = rng.integers(0, 4, accounts), np.zeros(accounts, dtype=np.int64)
    end = np.full(accounts, 10 * weeks)
    for week in range(weeks):
        gone = week >= end
        cured = rng.random(accounts) < np.where(gone & unpaid, 0.05, 0.3)
        falls = rng.random(accounts) < np.where(gone & unpaid, 0.3, 0.06)
        late = np.where(late > 0, np.where(cured, 0, late + 1), falls)
        now = np.minimum(late, 6)
        sent = rng.random(accounts) < CHANCE[now]
        firm = sent & (rng.random(accounts) < FIRM[now])
        state[:, week], contacts[:, week] = now, np.column_stack([sent & ~firm, firm])
        leaves = base * frail * np.where(now > 0, 2.0, 1.0) + contacts[:, week] @ effect
        leaves = (rng.random(accounts) < leaves) & ~gone
        end = np.where(leaves, np.minimum(end, week + rng.integers(0, 3, accounts)), end)
        served = (week < end) & (now < 5)
        due = (week - bill) % 4 == 0 if monthly else rng.random(accounts) < rate
        invoices[:, week] = served & due
    return Weeks(invoices, state, contacts, 7), int((end <= weeks).sum())


def naive(seen):
    """Difference of the shares silent in the last 12 weeks by contact, z of the two-sample test."""
    past, silent = seen.contacts[:, :-12].sum(axis=(1, 2)) > 0, seen.invoices[:, -12:].sum(1) == 0
    shares = [silent[past == k].mean() for k in (False, True)]
    error = sum(p * (1 - p) / (past == k).sum() for p, k in zip(shares, (False, True), strict=True))
    return (shares[1] - shares[0]) / error**0.5


@pytest.mark.parametrize("monthly", [True, False])
@pytest.mark.parametrize("unpaid", [True, False])
def test_contacts_to_those_who_leave_anyway_are_not_blamed(monthly, unpaid):
    """Contacts do nothing here; to count who was contacted says that they do."""
    z, wrong = [], []
    for seed in range(4):
        seen, _ = world(seed, np.zeros(2), monthly=monthly, unpaid=unpaid)
        lost = fit_drop_out(seen, PRIOR, LOOSE)
        z += list(lost.effect / np.sqrt(np.diag(lost.covariance)))
        wrong.append(naive(seen))
    # Eight z values: the mean square of a standard normal is 1 with error (2 / 8) ** .5.
    assert np.square(z).mean() < 1 + 3 * 0.5
    if unpaid:
        assert min(wrong) > 3


def test_people_who_see_who_leaves_are_not_to_blame():
    """Nothing that is sent drives anybody away; people call half of those about to leave."""
    z, wrong = [], []
    for seed in range(4):
        seen, _ = world(seed, np.zeros(2))
        last = seen.invoices.shape[1] - 1 - (seen.invoices[:, ::-1] > 0).argmax(axis=1)
        called = np.flatnonzero((last < 45) & (np.random.default_rng(seed).random(len(last)) < 0.5))
        contacts, by_hand = seen.contacts.copy(), np.zeros(seen.state.shape, dtype=bool)
        contacts[called, last[called], 1] += 1.0
        by_hand[called, last[called]] = True
        for marks, found in ((by_hand, z), (None, wrong)):
            lost = fit_drop_out(replace(seen, contacts=contacts, by_hand=marks), PRIOR, LOOSE)
            found += list(lost.effect / np.sqrt(np.diag(lost.covariance)))
    assert np.square(z).mean() < 1 + 3 * 0.5
    assert min(wrong[1::2]) > 3


@pytest.mark.parametrize("monthly", [True, False])
def test_what_drives_customers_away_is_found(monthly):
    truth, z = np.array([0.002, 0.02]), []
    for seed in range(4):
        lost = fit_drop_out(world(seed, truth, monthly=monthly)[0], PRIOR, LOOSE)
        error = np.sqrt(np.diag(lost.covariance))
        z += list((lost.effect - truth) / error)
        assert lost.effect[1] > 1.645 * error[1]
    assert np.square(z).mean() < 1 + 3 * 0.5


def test_contacts_that_keep_customers_have_a_gain():
    truth, z = np.array([-0.02, 0.0]), []
    for seed in range(4):
        lost = fit_drop_out(world(seed, truth, base=0.012, weeks=40, frailty=0.01)[0], PRIOR, LOOSE)
        error = np.sqrt(np.diag(lost.covariance))
        z += list((lost.effect - truth) / error)
        assert lost.effect[0] < -1.645 * error[0]
    assert np.square(z).mean() < 1 + 3 * 0.5


@pytest.mark.parametrize("monthly", [True, False])
def test_leavers_are_counted(monthly):
    seen, gone = world(7, np.zeros(2), monthly=monthly)
    # Those of the last weeks, and of the first ones, are not seen yet: a sixth in 60 weeks.
    assert fit_drop_out(seen, PRIOR, TIGHT).leavers == pytest.approx(gone * 5 / 6, rel=0.15)


def test_what_cannot_be_told_stays_assumed():
    seen, _ = world(3, np.zeros(2), accounts=150)
    lost = fit_drop_out(seen, PRIOR, TIGHT)
    assert lost.effect == pytest.approx(PRIOR, rel=0.15)
    assert np.sqrt(np.diag(lost.covariance)) == pytest.approx(PRIOR, rel=0.1)


def test_nobody_contacted_or_nobody_seen_for_long():
    few = Weeks(np.ones((3, 2), np.int64), np.zeros((3, 2), np.int64), np.zeros((3, 2, 2)), 1)
    assert fit_drop_out(few, PRIOR, TIGHT).effect == pytest.approx(PRIOR)
