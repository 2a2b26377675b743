"""Tuning on a book whose ways changed: old history misleads, and only a half-life helps."""

import importlib

import numpy as np
import optuna
import pandas as pd
import pytest

from collectopt.exceptions import InputError, MissingExtraError
from collectopt.models import PaymentModel, Tuning, tune
from collectopt.models.labels import Level, landmarks, outcomes
from collectopt.models.options import HazardOptions
from collectopt.models.rolling import Fold, Search, clustered_interval
from collectopt.schema.ledger import Ledger

AS_OF = "2024-07-01"
ASKED = {
    "horizons": ("10D", "30D"),
    "cuts": 2,
    "every": "30D",
    "features": ("open_amount", "days_past_due"),
    "options": HazardOptions(
        rounds=30, rate=0.13, columns=0.8, ridge=1.0, max_periods=8_000, half_life_days=None
    ),
}


def make_book(changed="2023-11-01", n=50, until="2024-09-01", seed=0):
    """Claims are paid after 8 days in the mean, those issued from ``changed`` on after 60."""
    rng = np.random.default_rng(seed)
    start, days = np.datetime64("2023-01-01"), 600
    issued = start + rng.integers(0, days, n * 10)
    wait = rng.exponential(np.where(issued < np.datetime64(changed), 8.0, 60.0))
    account = rng.integers(0, n, len(issued))
    amount = rng.integers(20, 200, len(issued))
    paid = issued + 1 + wait.astype(int)
    keep = issued < np.datetime64(until)
    invoices = pd.DataFrame(
        {
            "invoice_id": [f"I{i}" for i in range(len(issued))],
            "account_id": [f"A{k:03d}" for k in account],
            "issued_on": issued.astype(str),
            "due_on": (issued + 14).astype(str),
            "amount": amount,
            "currency": "EUR",
        }
    )
    payments = pd.DataFrame(
        {
            "payment_id": invoices["invoice_id"],
            "account_id": invoices["account_id"],
            "paid_at": [f"{day}T10:00Z" for day in paid],
            "amount": amount,
            "invoice_id": invoices["invoice_id"],
        }
    )
    accounts = [
        {"account_id": f"A{k:03d}", "customer_type": "consumer", "country": "DE"} for k in range(n)
    ]
    seen = keep & (paid < np.datetime64(until))
    return Ledger.from_frames(accounts=accounts, invoices=invoices[keep], payments=payments[seen])


def plain(tuning):
    """Everything that a search found, without the clock."""
    return (
        tuning.options,
        (tuning.gain, tuning.lower, tuning.upper),
        tuning.to_pandas().drop(columns="seconds").to_json(),
    )


@pytest.fixture(scope="module")
def ledger():
    return make_book()


@pytest.fixture(scope="module")
def tuning(ledger):
    return tune(ledger, AS_OF, trials=10, seed=3, **ASKED)


def test_finds_the_half_life_that_a_changed_book_needs(tuning):
    assert isinstance(tuning, Tuning)
    assert tuning.options.half_life_days is not None
    assert tuning.lower > 0.0
    assert tuning.lower < tuning.gain < tuning.upper
    assert tuning.recommended is tuning.options
    model = tuning.model()
    assert model.options is tuning.options
    assert model.levels == (Level.ACCOUNT,)
    assert model.features == ASKED["features"]
    assert tuning.model(event="any", levels=("invoice",)).levels == (Level.INVOICE,)


def test_the_first_trial_is_the_defaults(tuning):
    first = tuning.to_pandas().iloc[0]
    assert first["rounds"] == ASKED["options"].rounds
    assert first["rate"] == ASKED["options"].rate
    assert first["half_life_days"] == "none"
    assert tuning.trials["log_loss"].min() < first["log_loss"]
    assert "10 trials" in repr(tuning)
    assert "recommended: options" in repr(tuning)
    assert "<table" in tuning._repr_html_()


def test_trials_that_fall_behind_are_pruned(tuning):
    table = tuning.to_pandas()
    pruned = table[table["state"] == "pruned"]
    assert len(pruned) >= 1
    assert (pruned["cuts"] < ASKED["cuts"]).all()
    assert pruned["log_loss"].isna().all()
    assert (table.loc[table["state"] == "complete", "cuts"] == ASKED["cuts"]).all()


def test_without_a_gain_the_defaults_are_recommended():
    steady = make_book(changed="2030-01-01", n=40)
    tuning = tune(steady, AS_OF, trials=3, **ASKED)
    assert tuning.lower <= 0.0
    assert tuning.recommended is tuning.defaults is ASKED["options"]
    assert tuning.model().options is ASKED["options"]
    assert "recommended: defaults" in repr(tuning)
    only = tune(steady, AS_OF, trials=1, **ASKED)
    assert (only.gain, only.lower, only.upper) == (0.0, 0.0, 0.0)
    assert only.options is only.defaults
    assert "recommended: defaults" in repr(only)


def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(ledger, tuning, tmp_path):
    path = tmp_path / "tuning.log"
    tune(ledger, AS_OF, trials=4, storage=path, seed=3, **ASKED)
    calls = {"n": 0}
    score = Fold.score

    def interrupted(self, model):
        calls["n"] += 1
        if calls["n"] == 2:  # in the middle of a trial
            raise KeyboardInterrupt
        return score(self, model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fold, "score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tune(ledger, AS_OF, trials=10, storage=path, seed=3, **ASKED)
    again = tune(ledger, AS_OF, trials=10, storage=path, seed=3, **ASKED)
    assert (again.options, again.gain) == (tuning.options, tuning.gain)
    ended = again.to_pandas()["state"]
    assert (ended != "fail").sum() == 10
    assert (ended == "fail").sum() == 1
    more = tune(ledger, AS_OF, trials=10, storage=path, seed=3, **ASKED)  # nothing is left to do
    assert plain(more) == plain(again)


def test_a_database_keeps_searches_apart(ledger, tmp_path):
    url = f"sqlite:///{tmp_path / 'tuning.db'}"
    one = tune(ledger, AS_OF, trials=1, storage=url, **ASKED)
    other = tune(ledger, AS_OF, trials=1, storage=url, **(ASKED | {"horizons": ("20D",)}))
    assert one.study.study_name != other.study.study_name
    assert len(other.trials) == 1


def test_what_happens_at_or_after_as_of_changes_nothing(ledger):
    """Not even that later rows exist; the naive way, all that the ledger holds, does change."""
    early = make_book(until=AS_OF)
    assert len(early.invoices) < len(ledger.invoices)
    found = [tune(book, AS_OF, trials=4, **ASKED) for book in (ledger, early)]
    assert plain(found[0]) == plain(found[1])
    assert found[0].gain != 0.0
    rows = landmarks(ledger, AS_OF, "account", years=0.1)
    late = outcomes(rows, "full", "account", "2024-09-01")[0].event.sum()
    assert late > outcomes(rows, "full", "account", AS_OF)[0].event.sum()


def test_the_newest_cut_takes_no_part_in_the_choice(ledger):
    search = Search.of(("10D", "30D"), trials=1, cuts=2, every="30D")
    (newest, end), *others = search.cuts(ledger, AS_OF)
    assert str(end) == "2024-07-01T00:00:00.000000"
    assert end - newest == np.timedelta64(60, "D")
    for cut, known in others:
        assert known == newest  # outcomes that the choice sees were over by then
        assert cut + np.timedelta64(60, "D") <= newest
    # A book that changes again just after the newest cut: another gain, the same choice.
    late = make_book(changed="2023-11-01", until=str(newest)[:10])
    extra = make_book(changed="2020-01-01", seed=1)
    issued = extra.invoices["issued_on"].to_pandas().astype(str)
    fresh = extra.invoices.to_pandas()[(issued >= str(newest)[:10]).to_numpy()]
    fresh = fresh.assign(invoice_id="N" + fresh["invoice_id"])
    both = Ledger.from_frames(
        accounts=late.accounts,
        invoices=pd.concat([late.invoices.to_pandas(), fresh], ignore_index=True),
        payments=late.payments,
    )
    one, two = (tune(book, AS_OF, trials=4, **ASKED) for book in (ledger, both))
    assert one.options == two.options != ASKED["options"]
    assert one.trials["log_loss"].equals(two.trials["log_loss"])
    assert one.gain != two.gain


def test_a_trial_is_the_payment_model_fitted_at_the_cut(ledger):
    base = PaymentModel(levels=("account",), features=ASKED["features"], options=ASKED["options"])
    search = Search.of(("10D", "30D"), trials=1, cuts=1, every="30D")
    cut, end = search.cuts(ledger, AS_OF)[1]
    fold = Fold.of(ledger, base, search, cut, end)
    at = fold.rows.rows["as_of"].to_numpy()
    assert at.min() >= cut
    assert at.max() < cut + np.timedelta64(30, "D")
    forecast = base.fit(ledger, cut).predict(fold.rows, horizons=("10D", "30D"))
    days = outcomes(fold.rows, "full", "account", end)[0]
    paid = days.event[:, None] & (days.days[:, None] < np.array([10.0, 30.0]))
    np.testing.assert_array_equal(fold.paid, paid)
    loss = -np.log(np.where(paid, forecast.p_paid, 1 - forecast.p_paid))
    fresh = PaymentModel(levels=("account",), features=ASKED["features"], options=ASKED["options"])
    assert fold.score(fresh) == pytest.approx(loss.mean(axis=0).mean(), rel=1e-12)


def test_a_row_whose_horizon_is_not_over_is_left_out_by_time_alone(ledger):
    base = PaymentModel(levels=("account",), features=ASKED["features"], options=ASKED["options"])
    search = Search.of(("30D", "due+20D"), trials=1, cuts=1, every="30D")
    cut, end = search.cuts(ledger, AS_OF)[0]
    early = end - np.timedelta64(20, "D")
    fold = Fold.of(ledger, base, search, cut, early)
    over = fold.rows.rows["as_of"].to_numpy() <= early - np.timedelta64(30, "D")
    np.testing.assert_array_equal(fold.weight[:, 0] > 0, over)
    assert 0 < over.sum() < len(over)
    np.testing.assert_allclose(fold.weight.sum(axis=0), 0.5)
    # Those that paid early are known sooner: keeping them would overstate the rate.
    naive = over | fold.paid[:, 0]
    assert fold.paid[naive, 0].mean() > fold.paid[over, 0].mean() + 0.05


def test_the_callers_own_study_is_used_as_it_is(ledger):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    sampler = study.sampler
    one = tune(ledger, AS_OF, trials=2, study=study, **ASKED)
    assert one.study is study
    assert study.sampler is sampler
    assert len(study.trials) == 2
    assert len(tune(ledger, AS_OF, trials=3, study=study, **ASKED).trials) == 3
    with pytest.raises(InputError, match="another search"):
        tune(ledger, AS_OF, trials=4, study=study, **(ASKED | {"cuts": 1}))
    with pytest.raises(InputError, match="minimise"):
        tune(ledger, AS_OF, study=optuna.create_study(direction="maximize"), **ASKED)


def test_time_out_and_logging_are_kept(ledger, capfd):
    before = optuna.logging.get_verbosity()
    tuning = tune(ledger, AS_OF, trials=50, timeout=0.0, **ASKED)
    assert len(tuning.trials) == 1  # the defaults are always tried
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_the_interval_covers_clustered_data_where_the_naive_one_does_not():
    rng = np.random.default_rng(0)
    groups, size, hits, naive, trials = 60, 8, 0, 0, 400
    cluster = np.repeat(np.arange(groups), size)
    for _ in range(trials):
        shared = rng.normal(size=groups)[cluster][:, None]
        values = 0.3 + shared + 0.5 * rng.normal(size=(groups * size, 2))
        weight = np.full(values.shape, 1 / values.size)
        _, lower, upper = clustered_interval(values, weight, cluster)
        hits += lower <= 0.3 <= upper
        _, lower, upper = clustered_interval(values, weight, np.arange(len(values)))
        naive += lower <= 0.3 <= upper
    error = np.sqrt(0.95 * 0.05 / trials)
    assert abs(hits / trials - 0.95) < 3 * error + 0.01  # the normal quantile at 60 clusters
    assert naive / trials < 0.75


def test_a_missing_extra_is_named(ledger, monkeypatch):
    real = importlib.import_module

    def without(name, package=None):
        if name == "optuna":
            raise ModuleNotFoundError("No module named 'optuna'", name="optuna")
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingExtraError, match=r"collectopt\[tune\]"):
        tune(ledger, AS_OF)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"trials": 0}, "trials"),
        ({"cuts": 0}, "cuts"),
        ({"every": "due+3D"}, "every"),
        ({"every": "0D"}, "every"),
        ({"horizons": ()}, "horizons"),
        ({"cuts": 40}, "history before and after the cut"),
    ],
)
def test_wrong_use_is_refused(ledger, wrong, word):
    with pytest.raises(InputError, match=word):
        tune(ledger, AS_OF, **(ASKED | wrong))
