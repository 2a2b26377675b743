"""Objects that carry results check their shapes and show themselves."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from collectopt.exceptions import InputError
from collectopt.schema.actions import ActionSet
from collectopt.schema.decisions import SCHEMA, Decisions
from collectopt.schema.forecast import Forecast
from collectopt.schema.horizons import Horizon
from collectopt.schema.log import DecisionLog
from collectopt.schema.times import INSTANT

ACTIONS = ActionSet.from_frame([{"channel": "none"}, {"channel": "email"}])
ROWS = pa.table(
    {
        "account_id": ["A", "B"],
        "as_of": pa.array([0, 0]).cast(INSTANT),
        "invoice_id": pa.array([None, "7"]),
    }
)


def forecast(**change) -> Forecast:
    parts = {
        "rows": ROWS,
        "horizons": ("30D", "due+30D"),
        "p_paid": np.array([[0.5, 0.6], [0.1, 0.2]]),
        "share": np.zeros((2, 2)),
        "days": np.array([[1.0, 5.0, np.inf], [2.0, 3.0, 4.0]]),
    }
    return Forecast(**{**parts, **change})


def test_forecast_columns():
    frame = forecast().to_pandas()
    assert list(frame.columns[3:]) == [
        "open_amount", "p_paid_30D", "p_paid_due+30D", "share_30D", "share_due+30D",
        "recovered_30D", "recovered_due+30D", "days_p10", "days_p50", "days_p90", "p_never",
    ]  # fmt: skip
    assert frame["p_never"].isna().all()
    assert frame["p_paid_due+30D"].tolist() == [0.6, 0.2]
    assert "0.600" in forecast()._repr_html_()
    with pytest.raises(InputError, match=r"forecast\.share: expected shape"):
        forecast(share=np.zeros((2, 3)))


@pytest.mark.parametrize("text", ["30D", "0D", "due+0D", "due-3D", "due+365D"])
def test_horizons_read_and_write(text):
    assert str(Horizon.parse(text)) == text


@pytest.mark.parametrize("text", ["30", "30d", "-3D", "due30D", "due+D", "", 30])
def test_odd_horizons(text):
    with pytest.raises(InputError, match="horizons"):
        Horizon.parse(text)


def test_logs_list_all_faults():
    with pytest.raises(InputError) as error:
        DecisionLog.from_arrays(
            np.zeros((3, 1)), [0, 1, 2], [1.0, np.nan, 0.0], [0.5, 0.0, 1.5], ACTIONS
        )
    assert [fault.column for fault in error.value.faults] == ["action", "reward", "propensity"]
    assert error.value.faults[2].rows == (1, 2)
    with pytest.raises(InputError, match="one value a row"):
        DecisionLog.from_arrays(np.zeros((3, 1)), [0, 1], [1.0] * 3, [0.5] * 3, ACTIONS)
    log = DecisionLog.from_arrays(np.zeros((3, 1)), [0, 1, 1], [0] * 3, [0.5] * 3, ACTIONS)
    assert len(log) == 3
    assert log.observed.all()


def decisions() -> Decisions:
    values = {
        "account_id": ["A", "B"],
        "channel": ["email", "none"],
        "tone": ["friendly", None],
        "offer": ["none", None],
        "send_at": [pd.Timestamp("2026-11-21T07:00Z"), None],
        **{name: [0.5, 0.25] for name in SCHEMA.names[5:12]},
        "runner_up": ["wait", None],
        "reasons": [["pays more often after a <b>reminder</b>"], ["on hold"]],
        "rule_trace": [[], ["HOLD_DISPUTE: 4"]],
        "policy_version": ["v", "v"],
        "decision_id": ["1", "2"],
    }
    return Decisions(
        pa.table(values, schema=SCHEMA), terms={"ExpectedRecovery": pa.array([2.0, 0.0])}
    )


def test_decisions_explain_themselves(tmp_path):
    made = decisions()
    text = str(made.explain("A"))
    assert "A: email, friendly at 2026-11-21 07:00 UTC" in text
    assert "+2.00 EUR" in text
    assert "runner-up: wait" in text
    assert "&lt;b&gt;" in made.explain("A")._repr_html_()
    assert "rule HOLD_DISPUTE: 4" in str(made.explain("B"))
    with pytest.raises(InputError, match="an account with a decision"):
        made.explain("C")
    assert repr(made) == "Decisions(2 accounts: email 1, none 1)"
    made.to_parquet(tmp_path / "d.parquet")
    assert pa.parquet.read_table(tmp_path / "d.parquet").equals(made.to_arrow())
    assert made.to_pandas()["propensity"].tolist() == [0.5, 0.25]
    assert "2 accounts" in made._repr_html_()


def test_results_come_in_the_kind_of_frame_that_the_caller_uses():
    ours = pl.DataFrame({"x": [1]})
    assert decisions().like(ours)["account_id"].to_list() == ["A", "B"]
    assert isinstance(forecast().like(ours), pl.DataFrame)
    assert isinstance(forecast().like([{}]), list)


def test_decisions_keep_their_columns():
    with pytest.raises(InputError, match="decisions"):
        Decisions(decisions().table.drop_columns(["offer"]))
