"""Search for better options of the payment model, and an honest word on what they gain.

Options are chosen on rolling cuts: learn before the cut, forecast the moments that follow it,
judge when their horizon is over. The newest cut takes no part in the choice. On it the chosen
options meet the defaults; unless they win beyond noise, the defaults are recommended.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from collectopt._lazy import extra
from collectopt.exceptions import InputError
from collectopt.models.options import HazardOptions
from collectopt.models.payment import PaymentModel
from collectopt.models.rolling import Fold, Search
from collectopt.schema.ledger import Ledger
from collectopt.schema.times import AsOf

_NAMES = ("rounds", "rate", "leaves", "min_leaf", "half_life_days")
_WHOLE = (("rounds", 20, 500), ("leaves", 3, 63), ("min_leaf", 10, 2000))
_RATE = (0.01, 0.3)
_HalfLife = float | tuple[float | None, ...] | None
_HALF_LIVES: tuple[_HalfLife, ...] = (None, 90.0, 180.0, 365.0, 730.0, (None, 90.0), (None, 180.0))
_STARTUP = 5  # trials before one may be pruned, and before the sampler trusts what it has seen


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a search found, and what it is worth.

    Attributes
    ----------
    options, defaults : HazardOptions
        The best of the trials, and what it was compared with.
    gain, lower, upper : float
        Log-loss (nats a forecast, mean over the horizons) that ``options`` save against
        ``defaults`` on the newest cut, which took no part in the choice; 95 % interval, errors
        clustered by account. Positive: ``options`` are better.
    trials : DataFrame
        One row a trial: number, state, log_loss (mean over the cuts; nan where pruned), cuts seen,
        seconds, and the options.
    study : optuna.Study
    base : PaymentModel
        Unfitted; event, features, years, rows and seed that the search used.
    """

    options: HazardOptions
    defaults: HazardOptions
    gain: float
    lower: float
    upper: float
    trials: pd.DataFrame = field(repr=False)
    study: Any = field(repr=False)
    base: PaymentModel = field(repr=False)

    @property
    def recommended(self) -> HazardOptions:
        """``options`` if they gain beyond noise, else ``defaults``."""
        return self.options if self.lower > 0.0 else self.defaults

    def model(
        self, *, event: str | None = None, levels: Sequence[str] | None = None
    ) -> PaymentModel:
        """Make an unfitted model with the recommended options.

        Parameters
        ----------
        event : {"full", "any"}, optional
        levels : sequence of {"account", "invoice"}, optional
            Default: those of the search. For others the options are a guess.
        """
        return PaymentModel(
            self.base.event.value if event is None else event,
            levels=[level.value for level in self.base.levels] if levels is None else levels,
            features=self.base.features,
            years=self.base.years,
            max_rows=self.base.max_rows,
            options=self.recommended,
            seed=self.base.seed,
        )

    def to_pandas(self) -> pd.DataFrame:
        """Give a copy of the table of trials."""
        return self.trials.copy()

    def __repr__(self) -> str:
        verdict = "options" if self.lower > 0.0 else "defaults"
        done = int(self.trials["log_loss"].notna().sum())
        return (
            f"Tuning({len(self.trials)} trials, {done} in full; gain {self.gain:+.5f} "
            f"[{self.lower:+.5f}, {self.upper:+.5f}] nats on the newest cut; "
            f"recommended: {verdict})"
        )

    def _repr_html_(self) -> str:
        best = self.trials.sort_values("log_loss").head(10)
        table = best.to_html(index=False, border=0, float_format="{:.5g}".format)
        return f"<p>{self!r}</p>{table}"


def tune(
    ledger: Ledger,
    as_of: AsOf,
    *,
    event: str = "full",
    level: str = "account",
    horizons: Sequence[str] = ("30D", "90D"),
    trials: int = 30,
    cuts: int = 3,
    every: str = "90D",
    options: HazardOptions | None = None,
    features: Sequence[str] | None = None,
    years: float = 4.0,
    max_rows: int = 300_000,
    study: Any = None,
    storage: str | Path | None = None,
    timeout: float | None = None,
    seed: int = 0,
) -> Tuning:
    """Search the options of the hazard inside a :class:`PaymentModel`. Needs the extra ``tune``.

    Each trial is fitted at ``cuts`` cuts and judged by the mean log-loss of its forecasts for the
    moments up to ``every`` after them. Trials that fall behind the median are stopped early. The
    first trial is the defaults.

    Trials times cuts fits are made. Fewer ``max_rows`` or person-periods in ``options`` make each
    of them cheaper.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date, aware datetime
        Nothing known at or after it is looked at.
    event : {"full", "any"}
    level : {"account", "invoice"}
    horizons : sequence of str
        "30D" or "due+30D". A row counts for those that are over; time alone decides which.
    trials : int
        Trials in all; those that a resumed study holds already are counted.
    cuts : int
        Cuts that decide. One more, newer than these by the longest horizon and ``every``, judges.
    every : str
        Time from cut to cut, and how long after a cut moments are forecast.
    options : HazardOptions, optional
        The defaults to start from and to compare with. Signs, haste and the most person-periods
        are kept by every trial.
    features, years, max_rows
        As in :class:`PaymentModel`.
    study : optuna.Study, optional
        The caller's own study, which minimises; sampler and pruner stay as they are.
    storage : str or Path, optional
        A database URL ("sqlite:///tuning.db"), else the path of a journal file. With it a search
        that was interrupted goes on where it stopped: the result is that of a single run.
    timeout : float, optional
        Seconds after which no new trial begins.
    seed : int
        Seed of the sampler and of the models. The same call gives the same options, unless
        ``timeout`` stops it.

    Returns
    -------
    Tuning

    Raises
    ------
    InputError
        Too little history for the cuts, wrong options, a study of another search.
    MissingExtraError
        Optuna is not installed.

    Examples
    --------
    ::

        tuning = co.models.tune(ledger, "2026-11-01", storage="tuning.log")
        model = tuning.model().fit(ledger, as_of="2026-11-01")
    """
    optuna = extra("optuna", extra="tune")
    search = Search.of(horizons, trials=trials, cuts=cuts, every=every)
    defaults = options or HazardOptions()
    base = PaymentModel(
        event,
        levels=(level,),
        features=features,
        years=years,
        max_rows=max_rows,
        options=defaults,
        seed=seed,
    )
    folds = [Fold.of(ledger, base, search, cut, end) for cut, end in search.cuts(ledger, as_of)]
    mark = _fingerprint(search, base, folds)
    with _silent(optuna):
        own = study is None
        if own:
            study = _open(optuna, storage, f"PaymentModel {mark}")
        _claim(study, mark)
        start = _spelled(defaults, folds[1].events)
        runner = _Runner(optuna, study, base, folds[1:], start, own)
        runner.run(search.trials, timeout)
        best = runner.best()
    if best == start:  # the defaults, spelled out
        found, judged = defaults, (0.0, 0.0, 0.0)
    else:
        found = _options(best, defaults)
        judged = folds[0].gain(_model(base, found), _model(base, defaults))
    return Tuning(found, defaults, *judged, _table(study), study, base)


# -- the search --------------------------------------------------------------------------------


def _spelled(options: HazardOptions, events: int) -> dict[str, Any]:
    """Spell options out: what is "by the number of events" becomes numbers."""
    hazard = options.hazard(events, (), 0)
    return {
        "rounds": round(hazard.n_estimators * options.haste),
        "rate": hazard.learning_rate / options.haste,
        "leaves": hazard.num_leaves,
        "min_leaf": hazard.min_child_samples,
        "half_life_days": _named(options.half_life_days),
    }


def _suggest(trial: Any, start: Mapping[str, Any]) -> dict[str, Any]:
    """Draw options; the space always holds the defaults, which the first trial takes."""
    found: dict[str, Any] = {}
    for name, few, many in _WHOLE:
        low, high = min(few, start[name]), max(many, start[name])
        found[name] = trial.suggest_int(name, low, high, log=True)
    slow, quick = min(_RATE[0], start["rate"]), max(_RATE[1], start["rate"])
    found["rate"] = trial.suggest_float("rate", slow, quick, log=True)
    lives = list(dict.fromkeys([*map(_named, _HALF_LIVES), start["half_life_days"]]))
    found["half_life_days"] = trial.suggest_categorical("half_life_days", lives)
    return found


def _named(half_life: _HalfLife) -> str:
    """Spell a half-life as text, the only kind of choice that every storage keeps."""
    lives = half_life if isinstance(half_life, tuple) else (half_life,)
    return " and ".join("none" if life is None else f"{life:g}" for life in lives)


def _half_life(name: str) -> _HalfLife:
    lives = tuple(None if part == "none" else float(part) for part in name.split(" and "))
    return lives if len(lives) > 1 else lives[0]


def _model(base: PaymentModel, options: HazardOptions) -> PaymentModel:
    return PaymentModel(
        base.event.value,
        levels=[level.value for level in base.levels],
        features=base.features,
        years=base.years,
        max_rows=base.max_rows,
        options=options,
        seed=base.seed,
    )


def _open(optuna: ModuleType, storage: str | Path | None, name: str) -> Any:
    """Make the study, or find it in the storage."""
    kept: Any = storage
    if storage is not None and "://" not in str(storage):
        backend = optuna.storages.journal.JournalFileBackend(str(storage))
        kept = optuna.storages.JournalStorage(backend)
    return optuna.create_study(
        study_name=name,
        storage=kept,
        load_if_exists=True,
        direction="minimize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_STARTUP),
    )


def _fingerprint(search: Search, base: PaymentModel, folds: Sequence[Fold]) -> str:
    """Short hash of the question and the data: another search never goes on with this study."""
    digest = hashlib.sha256()
    asked = (search.horizons, search.n_cuts, search.every, base.event, base.levels, base.features)
    fixed = (base.options, base.years, base.max_rows, base.seed)
    digest.update(repr((asked, fixed)).encode())
    for fold in folds:
        for part in fold.content():
            digest.update(part.tobytes())
    return digest.hexdigest()[:16]


def _claim(study: Any, mark: str) -> None:
    """Refuse a study that maximises or that belongs to another search."""
    goals = [direction.name.lower() for direction in study.directions]
    if goals != ["minimize"]:
        raise InputError.of(
            "tune",
            "study",
            expected="a study that minimises one value",
            found=str(goals),
            hint='Make it with optuna.create_study(direction="minimize").',
        )
    held = study.user_attrs.get("collectopt")
    if held not in {None, mark} or (held is None and study.trials):
        raise InputError.of(
            "tune",
            "study",
            expected="a study that is empty or comes from the same call on the same ledger",
            found="trials of another search",
            hint="Make a new study.",
        )
    study.set_user_attr("collectopt", mark)


@dataclass(frozen=True)
class _Runner:
    """Runs trials until there are enough; those that failed or were interrupted do not count."""

    optuna: ModuleType
    study: Any
    base: PaymentModel
    folds: Sequence[Fold]
    start: Mapping[str, Any]
    own: bool  # the study is ours, with its sampler

    def run(self, trials: int, timeout: float | None) -> None:
        states = self.optuna.trial.TrialState
        over = np.inf if timeout is None else time.monotonic() + timeout
        with _progress(trials) as tick:
            while (done := self._finished()) < trials:
                tick(done)
                if done and time.monotonic() >= over:
                    return
                waiting = self.study.get_trials(deepcopy=False, states=(states.WAITING,))
                if not done and not waiting:
                    self.study.enqueue_trial(dict(self.start))
                if self.own:
                    # A trial's draws depend on its number alone, so an interruption changes none.
                    seed = np.random.SeedSequence([self.base.seed, done]).generate_state(1)
                    self.study.sampler = self.optuna.samplers.TPESampler(
                        seed=int(seed[0]), n_startup_trials=_STARTUP
                    )
                self.study.optimize(self._objective, n_trials=1)
            tick(trials)

    def _objective(self, trial: Any) -> float:
        model = _model(self.base, _options(_suggest(trial, self.start), self.base.options))
        total = 0.0
        for k, fold in enumerate(self.folds):
            total += fold.score(model)
            trial.report(total / (k + 1), k)
            if k + 1 < len(self.folds) and trial.should_prune():
                raise self.optuna.TrialPruned
        return total / len(self.folds)

    def _finished(self) -> int:
        states = self.optuna.trial.TrialState
        ended = (states.COMPLETE, states.PRUNED)
        return len(self.study.get_trials(deepcopy=False, states=ended))

    def best(self) -> dict[str, Any]:
        """Options of the best trial that was not stopped early."""
        states = self.optuna.trial.TrialState
        if not self.study.get_trials(deepcopy=False, states=(states.COMPLETE,)):
            raise InputError.of(
                "tune",
                "study",
                expected="a trial that saw all cuts",
                found="every trial was pruned",
                hint="Give the study a milder pruner.",
            )
        return dict(self.study.best_trial.params)


def _options(params: Mapping[str, Any], defaults: HazardOptions) -> HazardOptions:
    chosen = {name: params[name] for name in _NAMES}
    return replace(defaults, **{**chosen, "half_life_days": _half_life(chosen["half_life_days"])})


def _table(study: Any) -> pd.DataFrame:
    ended = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    rows = [
        {
            "number": t.number,
            "state": t.state.name.lower(),
            "log_loss": t.value if t.state.name == "COMPLETE" else np.nan,
            "cuts": len(t.intermediate_values),
            "seconds": t.duration.total_seconds() if t.duration else np.nan,
            **{name: t.params.get(name) for name in _NAMES},
        }
        for t in ended
    ]
    return pd.DataFrame(rows)


@contextmanager
def _silent(optuna: ModuleType) -> Iterator[None]:
    """Let Optuna report warnings only, and leave its logging as it was."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on a terminal, else nothing."""
    if not sys.stderr.isatty():
        yield lambda _done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("trials", total=total)
        yield lambda done: bar.update(task, completed=done)
