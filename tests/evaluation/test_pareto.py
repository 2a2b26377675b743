"""The frontier between recovery and another term: by hand, and monotone."""

import numpy as np
import pytest

import collectopt as co
from collectopt.evaluation import pareto
from collectopt.exceptions import InputError
from collectopt.objective import RelationshipCost
from collectopt.schema import Forecast

CATALOGUE = co.Catalogue.from_dict(
    {
        "channels": [{"name": "email", "cost": 0.1}],
        "cadence_days": 1,
        "slots": {"hours": [9]},
        "timezone": "UTC",
        "discount_rate": 0.0,
        "value": {"lifetime_value": 1000.0},
    }
)
AMOUNTS = {"A": 20.0, "B": 50.0, "C": 200.0, "D": 1000.0}


class Payment:
    def predict(self, snapshot, horizons, level):
        del level
        n = len(snapshot)
        p = np.full((n, len(horizons)), 0.3)
        rows = snapshot.rows.select(["account_id", "as_of", "invoice_id"])
        return Forecast(rows, tuple(horizons), p, p.copy(), np.full((n, 3), 9.0))


class Response:
    """An e-mail adds two points."""

    def effect_factors(self, X):
        del X
        return np.ones((1, 1)), np.where(CATALOGUE.actions.is_contact, 0.02, 0.0)[:, None]


@pytest.fixture(scope="module")
def fitted():
    ledger = co.Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "consumer", "country": "DE",
                   "email_ok": True} for a in AMOUNTS],
        invoices=[{"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-02",
                   "due_on": "2026-01-16", "amount": x, "currency": "EUR"}
                  for a, x in AMOUNTS.items()],
    )  # fmt: skip
    objective = co.ExpectedRecovery() - co.ContactCost() - co.RelationshipCost()
    policy = co.NextBestAction(
        CATALOGUE, payment=Payment(), response=Response(), objective=objective
    )
    return policy.fit(ledger, "2026-02-01"), ledger


def test_by_hand(fitted):
    policy, ledger = fitted
    # an e-mail costs .1 and, at .0005 of 1,000 EUR, .5 of the relation; it brings .4, 1, 4, 20
    found = pareto(policy, ledger, "2026-02-01", weights=(0, 1, 4, 10, 100)).table
    assert found.weight.tolist() == [0, 1, 4, 10, 100]
    assert found.contacts.tolist() == [4, 3, 2, 1, 0]
    assert found.ExpectedRecovery.tolist() == pytest.approx([25.4, 25, 24, 20, 0])
    assert found.RelationshipCost.tolist() == pytest.approx([2, 1.5, 1, 0.5, 0])
    assert found.ContactCost.tolist() == pytest.approx([0.4, 0.3, 0.2, 0.1, 0])


def test_it_is_a_frontier_and_is_drawn(fitted):
    policy, ledger = fitted
    result = pareto(policy, ledger, "2026-02-01")
    table = result.to_pandas()
    assert (np.diff(table.RelationshipCost) <= 1e-9).all()
    assert (np.diff(table.ExpectedRecovery) <= 1e-9).all()
    assert result.plot().png()[:8] == b"\x89PNG\r\n\x1a\n"
    assert "ExpectedRecovery" in result._repr_html_()
    assert "expected by the models" in repr(result)
    assert policy.objective == co.ExpectedRecovery() - co.ContactCost() - co.RelationshipCost()


def test_another_term_and_what_is_refused(fitted):
    policy, ledger = fitted
    dear = pareto(policy, ledger, "2026-02-01", term=co.ContactCost(), weights=(1, 40))
    assert dear.table.contacts.tolist() == [3, 1]
    with pytest.raises(InputError, match="a cost of the objective"):
        pareto(policy, ledger, "2026-02-01", term=co.ComplaintRisk())
    with pytest.raises(InputError, match="a cost of the objective"):
        pareto(policy, ledger, "2026-02-01", term=co.ExpectedRecovery())
    with pytest.raises(InputError, match="from 0 up"):
        pareto(policy, ledger, "2026-02-01", weights=(-1,))
    with pytest.raises(InputError, match="a cost of the objective"):
        pareto(policy, ledger, "2026-02-01", term=RelationshipCost(leave=0.5))
