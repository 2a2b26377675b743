"""Print simulated against published for all trials.

    COLLECTOPT_DATA=data python benchmarks/calibration.py [--scale 1]

With COLLECTOPT_DATA the whole published table of the Philadelphia letters is compared (arms,
horizons, debt quartiles), without it their headline figures.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import pandas as pd

from collectopt.simulation import calibration_table

TABLE = Path("philadelphia_tax") / "effects_by_arm.csv"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    path = Path(os.environ.get("COLLECTOPT_DATA", "")) / TABLE
    letters = pd.read_csv(path) if path.is_file() else None
    if letters is None:
        print("COLLECTOPT_DATA holds no", TABLE, "- headline figures of Philadelphia alone\n")
    start = time.process_time()
    print(calibration_table(philadelphia=letters, scale=options.scale))
    print(f"\n{time.process_time() - start:.0f} s CPU")


if __name__ == "__main__":
    main()
