"""Fit the settings and contents of published.toml: prints the values, study by study.

    python benchmarks/calibration_fit.py [study ...] [--scale 1]

Levels first (pace; where three horizons are published also spread and the content of the usual
letter; where shares paid in full are, the share of tight money), then the content of every arm with
a fitted figure. Fixed seeds and common random numbers make the differences smooth enough for least
squares with finite steps.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import least_squares, minimize_scalar

from collectopt.simulation import calibration as table
from collectopt.simulation.calibration_letters import table_figures
from collectopt.simulation.calibration_studies import Study, published

STEP = 0.08
LETTERS = Path("philadelphia_tax") / "effects_by_arm.csv"


def with_group(study: Study, name: str, theta: np.ndarray) -> Study:
    """Put log pace (and spread, log content of the usual letter) into one group."""
    setting = study.groups[name]
    changes: dict[str, object] = {"pace": float(np.exp(theta[0]))}
    if len(theta) == 3:
        changes["spread"] = float(theta[1])
        usual = replace(setting.usual[0], content=float(np.exp(theta[2])))
        changes["usual"] = (usual,)
    return replace(study, groups={**study.groups, name: replace(setting, **changes)})


def with_content(study: Study, arm: str, content: float) -> Study:
    """Change the content of the last contact of an arm."""
    *first, last = study.arms[arm]
    return replace(study, arms={**study.arms, arm: (*first, replace(last, content=content))})


def gaps(study: Study, scale: float) -> np.ndarray:
    """Scores where there is a standard error, else the plain differences."""
    rows = table.compare(study, table.lived(study, scale))
    plain = [row.simulated - row.published for row in rows]
    scores = [row.z for row in rows]
    return np.where(np.isfinite(scores), scores, plain)


def fit_levels(study: Study, scale: float) -> Study:
    """Fit each group to its own levels (those of all, if it has none)."""
    for name, setting in study.groups.items():
        figures = [figure for figure in study.figures if figure.role == "level"]
        figures = [f for f in figures if f.group == name and f.measure == "any"] or figures
        alone = replace(
            study,
            groups={name: setting},
            figures=tuple(replace(figure, group="") for figure in figures),
        )
        theta = np.array([np.log(setting.pace)])
        if len(figures) >= 3 and setting.usual:
            theta = np.append(theta, [setting.spread, np.log(setting.usual[0].content)])

        def miss(theta: np.ndarray, alone: Study = alone, name: str = name) -> np.ndarray:
            return gaps(with_group(alone, name, theta), scale)

        found = least_squares(miss, theta, diff_step=STEP, max_nfev=12)
        study = with_group(study, name, found.x)
        now = study.groups[name]
        print(f"  {name}: pace = {now.pace:.3f}, spread = {now.spread:.2f}", end="")
        print(f", usual = {now.usual[0].content:.2f}" if now.usual else "", end="")
        print("; misses", np.round(found.fun, 1))
    return study


def fit_contents(study: Study, scale: float) -> Study:
    """Fit the content of each arm that has fitted figures."""
    for arm in study.fit:
        figures = tuple(
            f for f in study.figures if f.arm == arm and f.role in {"fitted", "direction"}
        )
        alone = replace(study, figures=figures)

        def loss(log_content: float, alone: Study = alone, arm: str = arm) -> float:
            content = float(np.exp(log_content))
            return float((gaps(with_content(alone, arm, content), scale) ** 2).sum())

        found = minimize_scalar(
            loss, bounds=(-2.5, 3.0), method="bounded", options={"xatol": 0.02, "maxiter": 14}
        )
        study = with_content(study, arm, float(np.exp(found.x)))
        print(f"  {arm}: content = {np.exp(found.x):.2f}; sum of squares {found.fun:.2f}")
    return study


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("studies", nargs="*")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--levels", action="store_true", help="levels alone")
    parser.add_argument("--contents", action="store_true", help="contents alone")
    options = parser.parse_args()
    for study in published().studies:
        if options.studies and study.key not in options.studies:
            continue
        print(study.name)
        told = study
        path = Path(os.environ.get("COLLECTOPT_DATA", "")) / LETTERS
        if study.key == "philadelphia" and path.is_file():
            told = replace(study, figures=table_figures(study, pd.read_csv(path)))
        settled = told if options.contents else fit_levels(told, options.scale)
        if not options.levels:
            fit_contents(settled, options.scale)


if __name__ == "__main__":
    main()
