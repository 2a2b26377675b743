"""Tracking against a sqlite store, made once; MLflow's own settings stay as they were."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what MLflow's own imports say is not ours to mend
    import mlflow

import collectopt as co
from collectopt import tracking
from collectopt.evaluation import kpis
from collectopt.exceptions import ArtifactError, InputError, MissingExtraError
from collectopt.policy import FixedLadder

_made = Path(__file__).parents[1] / "evaluation" / "made.py"
_spec = importlib.util.spec_from_file_location("made", _made)
assert _spec is not None
assert _spec.loader is not None
made = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(made)

AS_OF = "2026-04-01"
pytestmark = pytest.mark.filterwarnings(
    # SQLAlchemy pools that MLflow never closes.
    "ignore:unclosed database:ResourceWarning",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    # MLflow 3.17 uses a loader strategy that SQLAlchemy 2.1 deprecates.
    "ignore::sqlalchemy.exc.SADeprecationWarning",
)


@pytest.fixture(scope="module")
def ledger():
    return co.Ledger.from_frames(**made.tiny_tables())


@pytest.fixture(scope="module")
def policy(ledger):
    return FixedLadder(co.Catalogue.default()).fit(ledger, as_of=AS_OF)


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/runs.db"


@pytest.fixture(scope="module")
def result():
    plain = made.made_result(n=400)
    names = [n.replace("30D", "due+30D") for n in plain.rows["horizon"].to_pylist()]
    place = plain.rows.column_names.index("horizon")
    rows = plain.rows.set_column(place, "horizon", [names])
    horizons = ("due+30D", "60D", "90D")
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    return co.evaluation.BacktestResult(**{**fields, "rows": rows, "horizons": horizons})


@pytest.fixture(scope="module")
def tracked(policy, ledger, uri, result):
    before = (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run())
    run = tracking.log_training(
        policy,
        ledger,
        as_of=AS_OF,
        uri=uri,
        name="ladder",
        backtest=result,
        kpis=kpis(ledger, AS_OF),
        parameters={"note": "x" * 900},
    )
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), mlflow.active_run()) == before
    return run


def client(uri):
    return mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)


def test_what_is_logged(tracked, uri, ledger, policy, result):
    run = client(uri).get_run(tracked.run_id)
    assert run.info.status == "FINISHED"
    params, metrics = run.data.params, run.data.metrics
    assert params["as_of"] == "2026-04-01T00:00:00Z"
    assert params["policy"] == "FixedLadder"
    assert params["rows_invoices"] == "5"
    assert params["catalogue_channels_phone_cost"] == "4.5"
    assert params["note"] == "x" * 500
    assert run.data.tags["collectopt.fingerprint"] == ledger.fingerprint
    assert run.data.tags["collectopt.policy"] == policy.version
    assert metrics["log_loss_60D"] == pytest.approx(result.metrics()["log_loss_60D"])
    assert "auc_due_plus_30D" in metrics
    assert "ShrunkenRate_brier_90D" in metrics
    assert metrics["kpi_cei"] == pytest.approx(150 / 350)
    assert run.inputs.dataset_inputs[0].dataset.digest == ledger.fingerprint[:36]


def folder_of(run, uri):
    place = client(uri).get_run(run.run_id).info.artifact_uri
    return Path(place.removeprefix("file://"))


def test_files(tracked, uri):
    folder = folder_of(tracked, uri)
    listed = {path.name for path in folder.iterdir()}
    assert listed == {"plots", "policy", "report.html", "scores.csv"}
    plots = {path.name for path in (folder / "plots").iterdir()}
    assert plots == {"reliability.png", "by_cut.png", "roc.png", "gains.png"}
    store = Path(uri.removeprefix("sqlite:///")).parent
    assert {path.name for path in store.iterdir()} == {"runs.db", "runs-artifacts"}


def test_nothing_says_who_or_where(tracked, uri):
    """No user, no path of a script: the book of a customer may be behind it."""
    tags = client(uri).get_run(tracked.run_id).data.tags
    assert not {"mlflow.source.name", "mlflow.user"} & set(tags)


def test_load_by_version_alias_and_run(tracked, uri, policy, ledger):
    assert tracked.model_uri == "models:/ladder/1"
    tracking.promote(tracked)
    want = policy.decide(ledger, AS_OF).to_arrow()
    for name in (tracked.model_uri, "models:/ladder@champion", f"runs:/{tracked.run_id}"):
        loaded = tracking.load(name, uri=uri)
        assert loaded.version == policy.version
        assert loaded.decide(ledger, AS_OF).to_arrow() == want


def test_second_training_is_a_second_version(tracked, uri, policy, ledger):
    second = tracking.log_training(policy, ledger, as_of=AS_OF, uri=uri, name="ladder")
    assert second.version == "2"
    tracking.promote(second, "challenger")
    assert tracking.load("models:/ladder@challenger", uri=uri).version == policy.version
    assert [path.name for path in folder_of(second, uri).iterdir()] == ["policy"]


def test_default_store_is_that_of_mlflow(tracked, uri, policy, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking.load("models:/ladder/1").version == policy.version


def test_what_cannot_be_loaded(tracked, uri):
    for wrong in ("models:/ladder", "ladder", "models:/ladder@", "runs:/XYZ", "models:/a/b/c"):
        with pytest.raises(InputError, match="models:/name@alias"):
            tracking.load(wrong, uri=uri)
    for missing in ("models:/ladder@nobody", "models:/ladder/77", "models:/other/1", "runs:/abc"):
        with pytest.raises(ArtifactError, match="cannot be read from"):
            tracking.load(missing, uri=uri)


def test_a_failed_run_is_marked_and_registers_nothing(tracked, uri, policy, ledger):
    class Broken(FixedLadder):
        def save(self, path):
            raise OSError("disk full")

    broken = Broken(co.Catalogue.default()).fit(ledger, as_of=AS_OF)
    with pytest.raises(OSError, match="disk full"):
        tracking.log_training(broken, ledger, as_of=AS_OF, uri=uri, name="broken")
    store = client(uri)
    found = store.get_experiment_by_name("collectopt")
    statuses = [run.info.status for run in store.search_runs([found.experiment_id])]
    assert statuses.count("FAILED") == 1
    assert [model.name for model in store.search_registered_models()] == ["ladder"]


def test_damaged_artifacts_are_refused(tracked, uri):
    saved = folder_of(tracked, uri) / "policy" / "policy.json"
    text = saved.read_text(encoding="utf-8")
    try:
        saved.write_text(text.replace('"explore": 0.05', '"explore": 0.5'), encoding="utf-8")
        with pytest.raises(ArtifactError, match="changed after it was saved"):
            tracking.load(f"runs:/{tracked.run_id}", uri=uri)
    finally:
        saved.write_text(text, encoding="utf-8")


def test_nothing_is_imported_unless_asked_for():
    code = (
        "import sys, collectopt.tracking as tracking\n"
        "tracking.load, tracking.log_training\n"
        "assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"collectopt\[mlflow\]"):
        tracking.load("models:/ladder/1", uri="sqlite:///nowhere.db")
