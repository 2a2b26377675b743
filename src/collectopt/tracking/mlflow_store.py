"""Everything MLflow. The package is imported inside functions only."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectopt import __version__
from collectopt._lazy import extra
from collectopt.evaluation.keyfigures import Kpis
from collectopt.evaluation.reporting import report
from collectopt.evaluation.result import BacktestResult
from collectopt.exceptions import ArtifactError, InputError
from collectopt.policy import Policy
from collectopt.policy import load as load_policy
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import AsOf, to_instant

POLICY, PLOTS, REPORT = "policy", "plots", "report.html"
EXPERIMENT = "collectopt"
_LONGEST = 500  # characters of a parameter: what every MLflow server accepts


@dataclass(frozen=True)
class TrackedRun:
    """Where a training was logged.

    Attributes
    ----------
    run_id : str
        MLflow's id of the run.
    name : str
        Registered model.
    version : str
        Its version.
    uri : str
        Store that holds both.
    """

    run_id: str
    name: str
    version: str
    uri: str

    @property
    def model_uri(self) -> str:
        """What :func:`load` takes."""
        return f"models:/{self.name}/{self.version}"


def log_training(
    policy: Policy,
    ledger: Ledger,
    *,
    as_of: AsOf,
    uri: str,
    name: str = "collectopt-policy",
    backtest: BacktestResult | None = None,
    kpis: Kpis | None = None,
    parameters: Mapping[str, object] | None = None,
) -> TrackedRun:
    """Log a fitted policy and what is known about it, and register it as a new version.

    The run gets parameters, the fingerprint of the data (tag and dataset), metrics by horizon for
    the model and its rivals, KPIs, plots, the HTML report and the saved policy. A run that fails
    is marked so, and nothing is registered.

    Parameters
    ----------
    policy : Policy
        Fitted; saved as with ``policy.save``.
    ledger : Ledger
        What it was fitted on.
    as_of : str, date or aware datetime
        The cut of the training.
    uri : str
        Tracking and registry store: "sqlite:///runs.db", "http://host:5000", a folder.
    name : str
        Registered model; made if it does not exist.
    backtest, kpis
        From :mod:`collectopt.evaluation`; go into metrics, plots and the report.
    parameters : mapping of str to object, optional
        Further parameters of the run.

    Returns
    -------
    TrackedRun

    Raises
    ------
    MissingExtraError
        MLflow is not installed.
    """
    store = _Store(uri)
    instant = to_instant(as_of, ledger.timezone)
    known = {
        "as_of": f"{instant.astype('M8[s]')}Z",
        "policy": type(policy).__name__,
        "policy_version": policy.version,
        "collectopt": __version__,
        **{f"rows_{table}": ledger.table(table).num_rows for table in _TABLES},
        **{f"catalogue_{key}": value for key, value in _flat(_settings(policy.catalogue))},
        **(parameters or {}),
    }
    tags = {"collectopt.fingerprint": ledger.fingerprint, "collectopt.policy": policy.version}
    with store.run(f"{name} {str(instant)[:10]}", tags) as run_id:
        store.log_parameters(run_id, known)
        store.log_dataset(run_id, ledger.fingerprint, known)
        store.log_metrics(run_id, _metrics(backtest, kpis))
        with tempfile.TemporaryDirectory() as folder:
            _write(Path(folder), policy, ledger, backtest, kpis)
            store.client.log_artifacts(run_id, folder)
        version = store.register(name, run_id, policy.version)
    return TrackedRun(run_id, name, version, uri)


def load(model: str, *, uri: str | None = None) -> Policy:
    """Load a policy from the registry or from a run.

    Parameters
    ----------
    model : str
        "models:/name@alias", "models:/name/version" or "runs:/run_id".
    uri : str, optional
        Store; by default the one that MLflow is set to (MLFLOW_TRACKING_URI).

    Returns
    -------
    Policy

    Raises
    ------
    InputError
        `model` has another form.
    ArtifactError
        The store has no such model, or what it holds is no policy.
    MissingExtraError
        MLflow is not installed.
    """
    found = re.fullmatch(r"models:/([^/@]+)(?:@([^/]+)|/(\d+))|runs:/([0-9a-f]+)", model)
    if found is None:
        raise InputError.of(
            "tracking.load",
            "model",
            expected='"models:/name@alias", "models:/name/version" or "runs:/run_id"',
            found=repr(model),
        )
    name, alias, version, run_id = found.groups()
    store = _Store(uri)
    with tempfile.TemporaryDirectory() as folder:
        with store.reading(model):
            if run_id is None:
                run_id = store.run_of(name, alias, version)
            path = store.download(run_id, folder)
        return load_policy(path / POLICY)


def promote(run: TrackedRun, alias: str = "champion") -> None:
    """Point an alias of the registered model at this version.

    Raises
    ------
    MissingExtraError
        MLflow is not installed.
    """
    _Store(run.uri).client.set_registered_model_alias(run.name, alias, run.version)


_TABLES = ("accounts", "invoices", "payments", "contacts", "responses", "holds")


class _Store:
    """One MLflow store, talked to without touching MLflow's global settings."""

    def __init__(self, uri: str | None) -> None:
        self.mlflow = extra("mlflow", extra="mlflow")
        self.uri = uri
        self.client = self.mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)

    @contextmanager
    def run(self, title: str, tags: Mapping[str, str]) -> Iterator[str]:
        """Open a run; it ends as finished, or as failed if the block raises."""
        created = self.client.create_run(self._experiment(), run_name=title, tags=dict(tags))
        run_id = str(created.info.run_id)
        try:
            yield run_id
        except BaseException:
            self.client.set_terminated(run_id, "FAILED")
            raise
        self.client.set_terminated(run_id)

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        place = _artifacts_beside(self.uri)
        return str(self.client.create_experiment(EXPERIMENT, artifact_location=place))

    def log_parameters(self, run_id: str, parameters: Mapping[str, object]) -> None:
        entities = self.mlflow.entities
        values = [
            entities.Param(_key(name), str(value)[:_LONGEST])
            for name, value in sorted(parameters.items())
        ]
        for start in range(0, len(values), 100):  # the most that one call may carry
            self.client.log_batch(run_id, params=values[start : start + 100])

    def log_metrics(self, run_id: str, metrics: Mapping[str, float]) -> None:
        entities = self.mlflow.entities
        now = int(self.client.get_run(run_id).info.start_time)
        values = [
            entities.Metric(_key(name), value, now, 0) for name, value in sorted(metrics.items())
        ]
        for start in range(0, len(values), 1000):
            self.client.log_batch(run_id, metrics=values[start : start + 1000])

    def log_dataset(self, run_id: str, fingerprint: str, known: Mapping[str, object]) -> None:
        """Log the ledger as the run's dataset: name and digest, no rows."""
        entities = self.mlflow.entities
        dataset = entities.Dataset(
            name=f"ledger before {known['as_of']}",
            digest=fingerprint[:36],
            source_type="collectopt",
            source="{}",
        )
        context = entities.InputTag("mlflow.data.context", "training")
        self.client.log_inputs(run_id, [entities.DatasetInput(dataset, [context])])

    def register(self, name: str, run_id: str, policy_version: str) -> str:
        exceptions = extra("mlflow.exceptions", extra="mlflow")
        try:
            self.client.create_registered_model(name)
        except exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        source = f"{self.client.get_run(run_id).info.artifact_uri}/{POLICY}"
        tags = {"collectopt.policy": policy_version}
        made = self.client.create_model_version(name, source, run_id, tags=tags)
        return str(made.version)

    def run_of(self, name: str, alias: str | None, version: str | None) -> str:
        if alias is not None:
            return str(self.client.get_model_version_by_alias(name, alias).run_id)
        return str(self.client.get_model_version(name, version).run_id)

    def download(self, run_id: str, folder: str) -> Path:
        """Fetch all files of a run; MLflow 3.1 forgets the store where a path is given."""
        artifacts = extra("mlflow.artifacts", extra="mlflow")
        uri = self.uri or self.mlflow.get_tracking_uri()
        path = artifacts.download_artifacts(run_id=run_id, dst_path=folder, tracking_uri=uri)
        return Path(path)

    @contextmanager
    def reading(self, model: str) -> Iterator[None]:
        """Turn MLflow's errors into ours while something is looked up."""
        exceptions = extra("mlflow.exceptions", extra="mlflow")
        try:
            yield
        except (exceptions.MlflowException, OSError) as error:
            where = self.uri or self.mlflow.get_tracking_uri()
            raise ArtifactError(f"{model} cannot be read from {where}: {error}") from error


def _artifacts_beside(uri: str | None) -> str | None:
    """Keep the files of a sqlite store in a folder beside it; servers know their own place.

    MLflow would put them into the working directory of whoever comes first.
    """
    if uri is None or not uri.startswith("sqlite:///"):
        return None
    file = Path(uri.removeprefix("sqlite:///")).resolve()
    return (file.parent / f"{file.stem}-artifacts").as_uri()


def _write(
    folder: Path,
    policy: Policy,
    ledger: Ledger,
    backtest: BacktestResult | None,
    kpis: Kpis | None,
) -> None:
    policy.save(folder / POLICY)
    if backtest is not None:
        plots = folder / PLOTS
        plots.mkdir()
        (plots / "reliability.png").write_bytes(backtest.plot_reliability().png())
        (plots / "by_cut.png").write_bytes(backtest.plot_by_cut().png())
        (plots / "roc.png").write_bytes(backtest.plot_roc().png())
        (plots / "gains.png").write_bytes(backtest.plot_gains().png())
        backtest.scores.to_csv(folder / "scores.csv", index=False)
    if backtest is not None or kpis is not None:
        facts = {"Policy version": policy.version}
        report(folder / REPORT, backtest=backtest, kpis=kpis, ledger=ledger, facts=facts)


def _metrics(backtest: BacktestResult | None, kpis: Kpis | None) -> dict[str, float]:
    found = {} if backtest is None else backtest.metrics()
    if kpis is not None:
        found |= {
            f"kpi_{row.name}": float(row.value) for row in kpis.rows if row.value == row.value
        }
    return found


def _settings(catalogue: Catalogue) -> dict[str, Any]:
    """All but the texts, which are no parameters; the policy's folder holds them."""
    return {key: value for key, value in catalogue.to_dict().items() if key != "templates"}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}_")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for entry in value:
                named = {k: v for k, v in entry.items() if k != "name"}
                yield from _flat(named, f"{prefix}{key}_{entry.get('name', '')}_")
        else:
            yield f"{prefix}{key}", value


def _key(name: str) -> str:
    """Make a name that MLflow takes: "due+30D" becomes "due_plus_30D"."""
    spelled = name.replace("+", "_plus_").replace("due-", "due_minus_")
    return re.sub(r"[^\w./ -]", "_", spelled)
