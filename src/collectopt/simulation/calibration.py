"""Simulated against published: whether the simulator reproduces randomised trials.

Every trial of `published.toml` is lived through in the simulator proper, with the effects of all
books, and what it finds is compared with what was published, figure by figure:
z = (simulated - published) / sqrt(se_published^2 + se_simulated^2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from collectopt.simulation.calibration_letters import table_figures
from collectopt.simulation.calibration_studies import Figure, Study, published
from collectopt.simulation.calibration_trials import Outcomes, live, opening
from collectopt.simulation.calibration_wording import wording_effects
from collectopt.simulation.kinds import EMAIL
from collectopt.simulation.noise import FloatArray


@dataclass(frozen=True)
class Row:
    """One figure, simulated and published; points or per cent.

    Attributes
    ----------
    study, figure : str
    day : int
        Days after the start of the trial.
    published, se : float
        Published figure and its standard error, NaN = none.
    simulated, se_simulated : float
    z : float
        NaN where there is no standard error, and for levels.
    role : str
        level, fitted, predicted or direction.
    agrees : bool
        Direction or range for the role direction, else abs(z) < 2; levels: within 2 points.
    """

    study: str
    figure: str
    day: int
    published: float
    se: float
    simulated: float
    se_simulated: float
    z: float
    role: str
    agrees: bool


@dataclass(frozen=True)
class Calibration:
    """All figures side by side.

    Attributes
    ----------
    rows : tuple of Row
    values : int
        Values fitted within studies.
    not_simulated : mapping of str to str
        Findings without a counterpart in the simulator, and why.
    """

    rows: tuple[Row, ...]
    values: int
    not_simulated: Mapping[str, str]

    def z(self, role: str | None = None) -> FloatArray:
        """Scores of the counted figures (fitted and predicted, or one of the two)."""
        roles = {"fitted", "predicted"} if role is None else {role}
        return np.array([row.z for row in self.rows if row.role in roles])

    def to_pandas(self) -> pd.DataFrame:
        """Give the figures, one a row."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def summary(self) -> str:
        """Say in a few lines how well it fits."""
        lines = []
        for title, role in (("all", None), ("fitted", "fitted"), ("predicted", "predicted")):
            z = self.z(role)
            if len(z):
                lines.append(
                    f"{title + ':':11}{len(z):4d} figures with a standard error, "
                    f"{100 * (np.abs(z) < 2).mean():.0f} % inside 2, "
                    f"largest |z| {np.abs(z).max():.1f}, mean z {z.mean():+.2f}"
                )
        signs = [row.agrees for row in self.rows if row.role == "direction"]
        lines.append(f"directions: {sum(signs)} of {len(signs)} agree")
        lines.append(f"values fitted within the studies: {self.values}")
        return "\n".join(lines)

    def __str__(self) -> str:
        head = (
            f"{'study':27}{'figure':31}{'day':>4}{'published':>10}{'s.e.':>6}"
            f"{'simulated':>10}{'z':>6} {'':4}"
        )
        lines, last = [head, "-" * len(head)], ""
        for row in self.rows:
            name = row.study if row.study != last else ""
            last = row.study
            se = "" if np.isnan(row.se) else f"{row.se:.2f}"
            score = f"{row.z:+.1f}" if np.isfinite(row.z) else ("ok" if row.agrees else "NO")
            lines.append(
                f"{name[:26]:27}{row.figure[:30]:31}{row.day:4d}{row.published:10.2f}{se:>6}"
                f"{row.simulated:10.2f}{score:>6} {row.role[:4]}"
            )
        lines += ["", self.summary()]
        if self.not_simulated:
            lines += ["", "not simulated:"]
            lines += [f"  {what}: {why}" for what, why in self.not_simulated.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        frame = self.to_pandas().round(2)
        return frame.to_html(index=False) + f"<pre>{self.summary()}</pre>"


@dataclass(frozen=True)
class Lived:
    """A study after it was lived through: outcomes by arm and day, and each account's group."""

    outcomes: Mapping[tuple[str, int], Outcomes]
    group: npt.NDArray[np.str_]


def calibration_table(
    studies: Sequence[str] | None = None,
    *,
    philadelphia: pd.DataFrame | None = None,
    scale: float = 1.0,
    seed: int = 0,
) -> Calibration:
    """Simulate the published trials and compare.

    Parameters
    ----------
    studies : sequence of str or None
        Keys of the studies, None = all.
    philadelphia : pandas.DataFrame or None
        The published effects of all letters of Philadelphia by debt quartile, columns table, arm,
        outcome, estimate, se, debt_quartile; takes the place of the headline figures.
    scale : float
        Factor on the number of simulated accounts.
    seed : int
        Seed of the worlds.

    Returns
    -------
    Calibration

    Examples
    --------
    >>> result = calibration_table(["dewies"], scale=0.1)
    >>> result.rows[0].agrees
    True
    """
    source = published()
    chosen = [study for study in source.studies if studies is None or study.key in studies]
    rows: list[Row] = []
    for study in chosen:
        told = study
        if philadelphia is not None and study.key == "philadelphia":
            told = replace(study, figures=table_figures(study, philadelphia))
        rows += compare(told, lived(told, scale, seed))
    if studies is None or "wording" in studies:
        rows += _wording_rows(scale, seed)
    values = sum(study.fitted_values for study in chosen)
    return Calibration(tuple(rows), values, source.not_simulated if studies is None else {})


_WORDING_SD = 1.5  # points; what the trials' wordings differ by beyond their errors, about


def _wording_rows(scale: float, seed: int) -> list[Row]:
    """Spread of the wordings of one reminder around their mean, over worlds."""
    setting = published().study("campbell").groups["all"]
    effects = wording_effects(setting, EMAIL, worlds=12, accounts=max(round(1500 * scale), 50),
                              seed=seed)  # fmt: skip
    apart = effects - effects.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((apart**2).sum() / (2.0 * len(apart))))
    stderr = spread / np.sqrt(4.0 * len(apart))
    low, high = _WORDING_SD - 0.5, _WORDING_SD + 0.5
    return [
        Row(
            study="Wordings of all trials",
            figure="sd of a reminder's wordings",
            day=30,
            published=_WORDING_SD,
            se=float("nan"),
            simulated=spread,
            se_simulated=float(stderr),
            z=float("nan"),
            role="direction",
            agrees=low <= spread <= high,
        )
    ]


def lived(study: Study, scale: float = 1.0, seed: int = 0) -> Lived:
    """Live through all arms of a study that its figures need."""
    days: dict[str, set[int]] = {}
    for figure in study.figures:
        for arm in (figure.arm, figure.base, figure.among):
            if arm:
                days.setdefault(arm, set()).add(figure.day)
    n = max(round(study.accounts * scale), 50)
    starts = [opening(of, n, seed + i) for i, of in enumerate(study.groups.values())]
    outcomes: dict[tuple[str, int], list[Outcomes]] = {}
    for start, setting in zip(starts, study.groups.values(), strict=True):
        for arm, horizons in days.items():
            contacts = (*study.arms[arm], *setting.usual)
            for day, result in live(start, contacts, sorted(horizons)).items():
                outcomes.setdefault((arm, day), []).append(result)
    joined = {key: _join(parts) for key, parts in outcomes.items()}
    return Lived(joined, np.repeat(np.array(list(study.groups)), n))


def _join(parts: Sequence[Outcomes]) -> Outcomes:
    return Outcomes(
        **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in Outcomes.__dataclass_fields__
        }
    )


def compare(study: Study, life: Lived) -> list[Row]:
    """Put the figures of a study beside what was found in its simulation."""
    return [_row(study, figure, life) for figure in study.figures]


def _row(study: Study, figure: Figure, life: Lived) -> Row:
    share = 1.0
    chosen = np.ones(len(life.group), dtype=np.bool_)
    if figure.group:
        chosen = life.group == figure.group
    if figure.among:
        reached = life.outcomes[figure.among, figure.day].reached > 0
        share = float(reached[chosen].mean())
        chosen = chosen & reached
    mine = _measure(life, figure, figure.arm)[chosen]
    if figure.base:
        other = _measure(life, figure, figure.base)[chosen]
        unit = float(other.mean()) if figure.unit == "relative" else 1.0
        change = (mine - other) / unit
        start = float(other.mean())
    else:
        change, start = mine, float(mine.mean())
    simulated = 100.0 * float(change.mean())
    stderr = 100.0 * float(change.std(ddof=1) / np.sqrt(len(change)))
    se = _published_error(figure, start, share)
    counted = figure.role in {"fitted", "predicted"}
    z = (simulated - figure.value) / np.hypot(se, stderr) if counted else float("nan")
    return Row(
        study=study.name,
        figure=_label(figure),
        day=figure.day,
        published=float("nan") if figure.hidden else figure.value,
        se=se,
        simulated=simulated,
        se_simulated=stderr,
        z=float(z),
        role=figure.role,
        agrees=_agrees(figure, simulated, float(z)),
    )


def _measure(life: Lived, figure: Figure, arm: str) -> FloatArray:
    outcome = life.outcomes[arm, figure.day]
    if figure.measure == "late":
        return 1.0 - outcome.full
    result: FloatArray = getattr(outcome, figure.measure)
    return result


def _published_error(figure: Figure, simulated_level: float, reached: float) -> float:
    """Give the published standard error, or the binomial one: of two arms, or of a level."""
    if figure.se is not None:
        return figure.se
    if figure.n is None:
        return float("nan")
    level = simulated_level if figure.level is None else figure.level / 100.0
    variance = level * (1.0 - level) / figure.n
    if not figure.base:
        return 100.0 * float(np.sqrt(variance))
    # Those assigned are compared, of whom a part was reached.
    return 100.0 * float(np.sqrt(2.0 * variance)) / reached


def _agrees(figure: Figure, simulated: float, z: float) -> bool:
    if figure.role == "level":
        return abs(simulated - figure.value) < 2.0
    if figure.role != "direction":
        return abs(z) < 2.0
    if figure.low is not None and figure.high is not None:
        return figure.low <= simulated <= figure.high
    return simulated * figure.value > 0.0


def _label(figure: Figure) -> str:
    name = figure.arm if not figure.base else f"{figure.arm} - {figure.base}"
    if figure.measure != "any":
        name += f", {figure.measure}"
    if figure.unit == "relative":
        name += " %"
    return f"{name}, q{figure.group[-1]}" if figure.group else name
