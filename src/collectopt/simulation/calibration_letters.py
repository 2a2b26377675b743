"""The letters of Philadelphia: all arms, horizons and debt quartiles of the published table."""

from __future__ import annotations

import pandas as pd

from collectopt.simulation.calibration_studies import Figure, Study

_DAYS = {"1m": 30, "3m": 90, "6m": 180}
_MEASURES = {"ever_paid": "any", "paid_full": "full"}


def table_figures(study: Study, table: pd.DataFrame) -> tuple[Figure, ...]:
    """Read the effects of the letters; levels stay those of the study.

    Effects on ever paid of all owners count as fitted, those by debt quartile and those on paid in
    full as predicted. Money and the next year's bill are left out: see ``not_simulated``.

    Parameters
    ----------
    study : Study
        The study with its arms.
    table : pandas.DataFrame
        Columns arm, outcome, estimate, se, debt_quartile; one row an effect or level.
    """
    figures = [figure for figure in study.figures if figure.role == "level"]
    quartiles = pd.to_numeric(table["debt_quartile"]).fillna(0).astype(int)
    for arm, outcome, estimate, se, quartile in zip(
        table["arm"].str.lower(),
        table["outcome"],
        table["estimate"].astype(float),
        table["se"].astype(float),
        quartiles,
        strict=True,
    ):
        measure, _, month = outcome.rpartition("_")
        if measure not in _MEASURES or month not in _DAYS or arm == "holdout":
            continue
        figures.append(
            Figure(
                arm=arm,
                day=_DAYS[month],
                value=estimate,
                se=se,
                role="predicted" if quartile or measure == "paid_full" else "fitted",
                base="holdout",
                group=f"quartile {quartile}" if quartile else "",
                measure=_MEASURES[measure],
            )
        )
    return tuple(figures)
