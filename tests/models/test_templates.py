"""Effects of templates against known truth: confounded logs, cold start, placebo."""

from __future__ import annotations

import json

import numpy as np
import pytest

from collectopt.exceptions import InputError
from collectopt.models.templates import ATTRIBUTE, OWN, TemplateEffects
from collectopt.schema.templates import ATTRIBUTES, Template, attributes

TRUE = {"nudge: deadline": 0.05, "nudge: social_norm": -0.04, "informal salutation": 0.03}
SHAPES = (  # cell, nudge, salutation
    (0, "none", "formal"), (0, "deadline", "formal"), (0, "none", "informal"),
    (1, "none", "formal"), (1, "social_norm", "formal"), (1, "deadline", "informal"),
    (2, "social_norm", "informal"), (2, "none", "formal"), (2, "deadline", "formal"),
)  # fmt: skip
TEMPLATES = [
    Template(name=f"t{k}", channel="letter", tone="firm", nudge=nudge, salutation=how)
    for k, (_, nudge, how) in enumerate(SHAPES)
]


def world(n, seed, *, effects=TRUE, confounded=True):
    """Contacts of which better payers get certain templates."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    cells = np.array([shape[0] for shape in SHAPES])
    cell = rng.integers(0, 3, n)
    liking = np.tile(np.array([0.0, 1.5, -1.0] * 3), (n, 1)) * X[:, :1] * confounded
    liking = np.where(cell[:, None] == cells, liking, -np.inf)
    propensity = np.exp(liking - liking.max(axis=1, keepdims=True))
    propensity /= propensity.sum(axis=1, keepdims=True)
    template = (rng.random((n, 1)) > propensity.cumsum(axis=1)).sum(axis=1)
    gamma = np.array([effects.get(name, 0.0) for name in ATTRIBUTES])
    base = 0.2 + 0.3 / (1.0 + np.exp(-1.5 * X[:, 0] - X[:, 1])) + 0.05 * cell
    y = (rng.random(n) < base + attributes(TEMPLATES)[template] @ gamma).astype(float)
    return {"X": X, "y": y, "cell": cell, "template": template}, gamma, propensity


def seen(name):
    return ATTRIBUTES.index(name)


@pytest.mark.parametrize("known", [False, True])
def test_attributes_are_recovered_where_raw_means_fail(known):
    log, gamma, propensity = world(24_000, 1)
    found = TemplateEffects.fit(
        **log, templates=TEMPLATES, propensity=propensity if known else None
    )
    stderr = np.sqrt(np.diag(found.covariance))
    for name in TRUE:
        assert abs(found.theta[seen(name)] - gamma[seen(name)]) < 3 * stderr[seen(name)]
        assert stderr[seen(name)] < 0.02
    # The raw difference between two templates of a cell tells whom they were sent to.
    mean, covariance = found.effects(TEMPLATES[:2])
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    assert abs(mean[1] - mean[0] - 0.05) < 3 * error
    one, two = (log["y"][log["template"] == k] for k in (0, 1))
    raw, noise = two.mean() - one.mean(), np.sqrt(two.var() / len(two) + one.var() / len(one))
    assert raw - 0.05 > 5 * noise


def test_errors_are_honest():
    """Over many logs the truth lies as far from the estimate as the standard errors say."""
    rng = np.random.default_rng(0)
    z = []
    for seed in range(40):
        # effects as the prior has them, four times as large
        effects = {name: rng.normal(0, 4 * ATTRIBUTE) for name in TRUE}
        log, gamma, _ = world(2_000, 100 + seed, effects=effects)
        found = TemplateEffects.fit(**log, templates=TEMPLATES)
        stderr = np.sqrt(np.diag(found.covariance))
        z += [(found.theta[seen(n)] - gamma[seen(n)]) / stderr[seen(n)] for n in TRUE]
    assert 0.7 < np.sqrt(np.mean(np.square(z))) < 1.5
    assert abs(np.mean(z)) < 0.4


def test_a_new_template_is_the_sum_of_its_attributes():
    log, _, _ = world(8_000, 2)
    found = TemplateEffects.fit(**log, templates=TEMPLATES)
    new = TEMPLATES[1].model_copy(update={"name": "new", "salutation": TEMPLATES[2].salutation})
    mean, covariance = found.effects([new, TEMPLATES[1]])
    parts = [seen("nudge: deadline"), seen("informal salutation")]
    assert mean[0] == pytest.approx(found.theta[parts].sum(), abs=1e-12)
    expected = found.covariance[np.ix_(parts, parts)].sum() + (OWN * found.scale) ** 2
    assert covariance[0, 0] == pytest.approx(expected)
    # a template's own name adds what only it was seen to do
    assert mean[1] == pytest.approx(found.theta[parts[0]] + found.theta[len(ATTRIBUTES) + 1])


def test_a_placebo_shows_nothing():
    wide = 0
    for seed in range(10):
        log, _, _ = world(4_000, 300 + seed, effects={})
        found = TemplateEffects.fit(**log, templates=TEMPLATES)
        stderr = np.sqrt(np.diag(found.covariance))
        wide += int((np.abs(found.theta) > 1.96 * stderr).sum())
        assert np.abs(found.theta).max() < 0.025
    assert wide <= 0.05 * 10 * len(found.theta)


def test_better_templates_are_chosen_more_often_and_equal_ones_alike():
    log, _, _ = world(24_000, 3)
    found = TemplateEffects.fit(**log, templates=TEMPLATES)
    chance = found.chances(TEMPLATES[6:9])  # norm and informal, none, deadline
    assert chance.sum() == pytest.approx(1.0)
    assert chance.argmax() == 2
    assert chance[2] > 0.9
    alike = [TEMPLATES[0].model_copy(update={"name": f"n{k}"}) for k in range(4)]
    equal = TemplateEffects.prior().chances(alike)
    assert np.abs(equal - 0.25).max() < 4 * np.sqrt(0.25 * 0.75 / 8192)
    assert (equal == TemplateEffects.prior().chances(alike)).all()


def test_what_is_not_known_is_not_read():
    log, _, _ = world(3_000, 4)
    known = np.arange(3_000) < 2_000
    one = TemplateEffects.fit(**log, templates=TEMPLATES, weight=known)
    log["y"] = np.where(known, log["y"], 1 - log["y"])
    two = TemplateEffects.fit(**log, templates=TEMPLATES, weight=known)
    assert (one.theta == two.theta).all()


def test_rows_of_an_account_are_no_evidence_of_their_own():
    log, _, _ = world(3_000, 5)
    account = np.tile(np.arange(3_000), 4)
    four = {name: np.concatenate([values] * 4) for name, values in log.items()}
    once = TemplateEffects.fit(**log, templates=TEMPLATES)
    clustered = TemplateEffects.fit(**four, templates=TEMPLATES, account=account)
    ratio = np.sqrt(np.diag(clustered.covariance) / np.diag(once.covariance))
    assert 0.8 < ratio[seen("nudge: deadline")] / (clustered.scale / once.scale) < 1.3


def test_one_template_a_cell_or_none_leaves_the_prior():
    log, _, _ = world(500, 6)
    only = TemplateEffects.fit(
        log["X"], log["y"], cell=log["cell"], template=log["cell"], templates=TEMPLATES[:3]
    )
    assert np.abs(only.theta).max() < 1e-9
    none = TemplateEffects.fit(np.zeros((0, 2)), [], cell=[], template=[], templates=TEMPLATES)
    assert not none.theta.any()
    assert none.effects(TEMPLATES)[1].shape == (9, 9)


def test_it_travels_as_json():
    log, _, _ = world(1_000, 7)
    found = TemplateEffects.fit(**log, templates=TEMPLATES)
    again = TemplateEffects.from_dict(json.loads(json.dumps(found.to_dict())))
    assert (again.theta == found.theta).all()
    assert (again.chances(TEMPLATES) == found.chances(TEMPLATES)).all()
    table = found.table()
    assert table["name"].tolist() == [*ATTRIBUTES, *(t.name for t in TEMPLATES)]
    assert table["contacts"].dropna().sum() == 1_000
    with pytest.raises(InputError, match="attributes"):
        TemplateEffects.from_dict({**found.to_dict(), "attributes": ["colour"]})


def test_bad_input_is_named():
    log, _, _ = world(100, 8)
    for change, word in (
        ({"template": np.full(100, 9)}, "template"),
        ({"cell": np.full(100, -1)}, "cell"),
        ({"y": log["y"][:9]}, "y"),
        ({"propensity": np.ones((100, 2))}, "propensity"),
    ):
        with pytest.raises(InputError, match=word):
            TemplateEffects.fit(**{**log, **change}, templates=TEMPLATES)
