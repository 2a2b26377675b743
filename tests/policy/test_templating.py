"""Templates are learnt from what was known before, and drawn with the chances that are told."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

import collectopt as co
from collectopt.models.templates import TemplateEffects
from collectopt.policy.templating import FLOOR, choose_templates, learn_templates
from collectopt.schema.templates import ATTRIBUTES, Template


def texts(catalogue):
    """Two templates a channel and tone."""
    return [
        Template(name=f"{c}_{t}_{nudge}", channel=c, tone=t, nudge=nudge)
        for c in catalogue.channel_names
        for t in catalogue.tone_names
        for nudge in ("none", "deadline")
    ]


@pytest.fixture(scope="module")
def book():
    """A simulated book in which each contact has one of two templates, by a coin."""
    made = co.simulation.Book("shop", accounts=300, seed=21, weeks=40)
    ledger, rng = made.ledger(), np.random.default_rng(0)
    contacts = ledger.contacts.to_pandas()
    tone = contacts["tone"].fillna("friendly")
    coin = np.where(rng.random(len(contacts)) < 0.5, "none", "deadline")
    contacts["template"] = contacts["channel"] + "_" + tone + "_" + coin
    contacts.loc[contacts["channel"] == "none", "template"] = None
    tables = {
        name: ledger.table(name)
        for name in ("accounts", "invoices", "payments", "responses", "holds")
    }
    return made, co.Ledger.from_frames(**tables, contacts=contacts), tables, contacts


def test_it_learns_from_the_log_and_not_from_the_future(book):
    made, ledger, tables, contacts = book
    templates = texts(made.catalogue)
    cut = made.as_of - timedelta(days=56)
    found = learn_templates(ledger, cut, made.catalogue, templates)
    assert found.contacts.sum() > 200
    # A coin has no effect: small, and none beyond its error.
    stderr = np.sqrt(np.diag(found.covariance))
    assert (np.abs(found.theta) < 3.5 * stderr).all()
    # Other contacts from the cut on, and no payment from then on, change nothing.
    late = contacts["decided_at"].fillna(contacts["sent_at"]) >= cut
    assert late.any()
    other = contacts.copy()
    other.loc[late & other["template"].notna(), "template"] = templates[0].name
    paid = tables["payments"].to_pandas()
    changed = {**tables, "payments": paid[paid["paid_at"] < cut]}
    again = learn_templates(
        co.Ledger.from_frames(**changed, contacts=other), cut, made.catalogue, templates
    )
    assert (again.theta == found.theta).all()
    assert (again.contacts == found.contacts).all()


def test_a_true_effect_is_found_in_a_ledger_where_raw_means_fail():
    """Better payers get the plain text; the one with a deadline brings 20 points more."""
    rng, n = np.random.default_rng(3), 900
    score = rng.uniform(0, 1, n)
    deadline = rng.random(n) < 0.9 - 0.8 * score
    paid = rng.random(n) < 0.1 + 0.5 * score + 0.2 * deadline
    names = np.where(deadline, "letter_firm_deadline", "letter_firm_none")
    ids = [f"A{k:03d}" for k in range(n)]
    ledger = co.Ledger.from_frames(
        accounts=[{"account_id": a, "customer_type": "consumer", "country": "DE",
                   "credit_score": s} for a, s in zip(ids, score, strict=True)],
        invoices=[{"invoice_id": f"I{a}", "account_id": a, "issued_on": "2026-01-01",
                   "due_on": "2026-01-15", "amount": 50, "currency": "EUR"} for a in ids],
        payments=[{"payment_id": f"P{a}", "account_id": a, "paid_at": "2026-02-10T09:00Z",
                   "amount": 50} for a, p in zip(ids, paid, strict=True) if p],
        contacts=[{"contact_id": f"C{a}", "account_id": a, "sent_at": "2026-02-01T09:00Z",
                   "channel": "letter", "tone": "firm", "offer": "none", "template": t}
                  for a, t in zip(ids, names, strict=True)],
    )  # fmt: skip
    catalogue = co.Catalogue.default()
    pair = [t for t in texts(catalogue) if t.name.startswith("letter_firm")]
    found = learn_templates(ledger, "2026-06-01", catalogue, pair)
    mean, covariance = found.effects(pair)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert found.contacts.sum() == n
    assert abs(mean[1] - mean[0] - 0.2) < 2.5 * error
    assert error < 0.06
    raw = paid[deadline].mean() - paid[~deadline].mean()
    assert abs(raw - 0.2) > 3 * np.sqrt(1.0 / n)


def test_a_book_without_templates_teaches_nothing(book):
    made, _, tables, contacts = book
    plain = co.Ledger.from_frames(**tables, contacts=contacts.assign(template=None))
    templates = texts(made.catalogue)
    found = learn_templates(plain, made.as_of, made.catalogue, templates)
    assert not found.theta.any()
    assert found.contacts.sum() == 0


def decided(n, channel="letter", tone="firm", offer="none"):
    columns = {"channel": channel, "tone": tone, "offer": offer}
    table = {name: pa.array([value] * n, pa.string()) for name, value in columns.items()}
    return pa.table({**table, "decision_id": [f"d{k}" for k in range(n)]})


PAIR = [
    Template(name="a", channel="letter", tone="firm"),
    Template(name="b", channel="letter", tone="firm", nudge="deadline"),
    Template(name="c", channel="letter", tone="firm", language="de"),
]


def test_draws_follow_the_chances_that_are_told():
    chosen = choose_templates(decided(4_000), PAIR, ["en"] * 4_000)
    assert set(chosen.propensity) == {0.5}
    assert abs((chosen.template == 0).mean() - 0.5) < 4 * np.sqrt(0.25 / 4_000)
    sure = TemplateEffects.prior()
    sure.theta[ATTRIBUTES.index("nudge: deadline")] = 0.2
    chosen = choose_templates(decided(4_000), PAIR, ["en"] * 4_000, sure)
    floor = FLOOR / 2
    assert set(np.round(chosen.propensity, 9)) == {floor, 1 - floor}
    assert abs((chosen.template == 0).mean() - floor) < 4 * np.sqrt(floor / 4_000)
    assert (chosen.propensity[chosen.template == 1] > 0.9).all()


def test_a_draw_depends_on_the_decision_and_the_seed_alone():
    whole = choose_templates(decided(200), PAIR, ["en"] * 200)
    part = choose_templates(decided(200).slice(50, 20), PAIR, ["en"] * 20)
    assert (whole.template[50:70] == part.template).all()
    other = choose_templates(decided(200), PAIR, ["en"] * 200, seed=1)
    assert (whole.template != other.template).any()


def test_language_offer_and_what_does_not_fit():
    chosen = choose_templates(decided(3), PAIR, ["de", "fr", None], fallback="de")
    assert chosen.template.tolist() == [2, 2, 2]
    none = choose_templates(decided(2, tone="friendly"), PAIR, ["en"] * 2)
    assert none.template.tolist() == [-1, -1]
    assert np.isnan(none.propensity).all()
    only = [PAIR[0].model_copy(update={"offer": "instalments"})]
    assert choose_templates(decided(1), only, ["en"]).template[0] == -1
    assert choose_templates(decided(1, offer="instalments"), only, ["en"]).template[0] == 0
    assert choose_templates(decided(1, offer=None), PAIR, ["de"]).template[0] == 2


def test_templates_change_no_decision(book):
    made, ledger, _, _ = book
    given = [t.model_dump(mode="json", exclude_none=True) for t in texts(made.catalogue)]
    free = {"house": {**made.catalogue.to_dict()["house"], "digital_needs_links": False}}
    rich = co.Catalogue.from_dict({**made.catalogue.to_dict(), **free, "templates": given})
    one, two = (co.FixedLadder(c).decide(ledger, made.as_of) for c in (made.catalogue, rich))
    named = ["policy_version", "decision_id"]
    assert one.to_arrow().drop_columns(named).equals(two.to_arrow().drop_columns(named))
