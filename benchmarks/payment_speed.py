"""Speed in the payment benchmark: the cases of ``hazard.py``, each in a process of its own."""

from __future__ import annotations

import pandas as pd

from hazard import FIT_ROWS, LARGE_ROWS, PREDICT_ROWS, apart
from payment_lines import Bar, Line, pooled, short

PART = "speed"
#: Name of the case in hazard.py, and of its peer.
CASES = ("fit ours", "fit peer", "predict ours", "predict peer", "large")
FIT, PREDICT, MEMORY = Bar(high=10.0), Bar(high=5.0), Bar(high=4096.0)


def measure(case: str) -> pd.DataFrame:
    """CPU seconds and peak memory of one case."""
    return pd.DataFrame([{"case": case, **apart(case)}])


def judge(frames: list[pd.DataFrame]) -> list[Line]:
    """Seconds to fit and to predict, memory of the large case."""
    found = pooled(frames).set_index("case")
    seconds, mb = found["seconds"], found["mb"]

    def peer(case: str) -> str:
        return f"person-period table by hand {short(seconds[case])}, {short(mb[case])} MB"

    large = f"fit {LARGE_ROWS:,} rows x 30"
    return [
        Line(PART, f"fit {FIT_ROWS:,} rows x 20", "CPU s", seconds["fit ours"], FIT,
             peer("fit peer")),
        Line(PART, f"predict {PREDICT_ROWS:,} rows x 18 bins", "CPU s", seconds["predict ours"],
             PREDICT, peer("predict peer")),
        Line(PART, large, "peak MB", mb["large"], MEMORY, f"{short(seconds['large'])} CPU s"),
    ]  # fmt: skip
