"""Pictures of payment forecasts show the numbers they were given."""

import numpy as np
import pyarrow as pa
import pytest

from collectopt.evaluation import plots_payment
from collectopt.exceptions import InputError
from collectopt.schema.forecast import Forecast


def made_forecast(n=3, horizons=("30D", "7D", "90D")):
    rows = pa.table(
        {
            "account_id": [f"A{i}" for i in range(n)],
            "as_of": pa.nulls(n, pa.timestamp("us", tz="UTC")),
            "invoice_id": pa.array([None, *(f"I{i}" for i in range(1, n))], pa.string()),
        }
    )
    p = np.array([[0.2, 0.1, 0.5], [0.6, 0.3, 0.9], [1.0, 1.0, 1.0]])[np.arange(n) % 3]
    p = p[:, : len(horizons)]
    return Forecast(rows, horizons, p, p.copy(), np.zeros((n, 3)))


def test_lines_are_the_chances_of_being_unpaid():
    figure = plots_payment.survival(made_forecast())
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()[:3]}
    assert lines["A0"].get_xdata().tolist() == [0.0, 7.0, 30.0, 90.0]
    assert lines["A0"].get_ydata() == pytest.approx([1.0, 0.9, 0.8, 0.5])
    assert lines["I1"].get_ydata() == pytest.approx([1.0, 0.7, 0.4, 0.1])
    assert (np.asarray(lines["I2"].get_ydata()) == 0.0).all()  # paid already
    assert figure.png().startswith(b"\x89PNG")
    named = plots_payment.survival(made_forecast(2), labels=["slow", "quick"])
    assert [t.get_text() for t in named.axes[0].get_legend().get_texts()] == ["slow", "quick"]


def test_too_many_rows_and_due_dates_are_refused():
    with pytest.raises(InputError, match="1 to 10 rows"):
        plots_payment.survival(made_forecast(11))
    with pytest.raises(InputError, match=r"due\+7D"):
        plots_payment.survival(made_forecast(2, ("7D", "due+7D")))


def test_flagged_quarters_are_ringed(result):
    table = result.drift[result.drift["horizon"] == "30D"].assign(flag=True)
    figure = plots_payment.quarters({"paid within 30 days": table})
    ring = next(line for line in figure.axes[0].get_lines() if line.get_label() == "drifted off")
    assert ring.get_ydata() == pytest.approx(table["observed"].to_numpy())
