from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from collectopt.evaluation.plots import Plot
from collectopt.exceptions import InputError
from collectopt.simulation import Book, Result
from collectopt.simulation.meter import FIGURES
from collectopt.simulation.result import interval

from .test_run import Mail, Silence, without_limits


@pytest.fixture(scope="module")
def book() -> Book:
    return Book("shop", accounts=400, seed=4, weeks=26)


@pytest.fixture(scope="module")
def result(book: Book) -> Result:
    policies = {"mail": Mail("email"), "silence": Silence("none")}
    return book.run(policies, weeks=4, seeds=6, catalogue=without_limits(book))


def test_paired_differences_are_much_sharper_than_two_means(result: Result) -> None:
    frame = result.difference(to="mail").set_index("figure")
    values = result.replicates()
    for name in ("recovered", "collected", "discounted", "net_value"):
        row = frame.loc[name]
        apart = [values[values.policy == p][name].to_numpy() for p in ("mail", "silence")]
        assert row.difference == pytest.approx(apart[1].mean() - apart[0].mean())
        paired = (row.high - row.low) / 2
        unpaired = np.hypot(*(interval(one)[1] for one in apart))
        assert paired < unpaired / 1.25, name  # six replicates leave a third of doubt on it
    assert frame.loc["cost", "difference"] < 0


def test_interval_against_the_textbook() -> None:
    mean, half = interval(np.array([4.0, 6.0, 8.0, 10.0]))
    assert mean == 7.0
    assert half == pytest.approx(3.182446 * np.sqrt(20 / 3) / 2, rel=1e-6)
    assert np.isnan(interval(np.array([4.0]))[1])


def test_the_table_holds_means_and_intervals(result: Result) -> None:
    table = result.table.set_index("policy")
    values = result.replicates()
    assert list(table.index) == ["mail", "silence"]
    assert len(values) == 12
    mine = values[values.policy == "silence"].recovered
    assert table.recovered["silence"] == pytest.approx(mine.mean())
    assert table.recovered_low["silence"] < mine.mean() < table.recovered_high["silence"]
    assert {figure.name for figure in FIGURES} < set(table.columns)
    assert set(result.meanings.name) == {figure.name for figure in FIGURES}


def test_text_fits_a_hundred_columns_and_says_that_it_is_simulated(result: Result) -> None:
    text = str(result)
    assert text.startswith("Simulated: 4 weeks, 400 accounts, kind 'shop', mean of 6 runs")
    assert "±" in text
    assert "Δ: less mail" in text
    assert text.count("net value") == 1
    assert max(map(len, text.splitlines())) <= 100
    some = {f"policy number {i}": result.outcomes["mail"] for i in range(5)}
    many = str(Result("shop", 400, 6, some))
    assert max(map(len, many.splitlines())) <= 100
    assert many.count("net value") > 1
    assert all(f"Δ policy number {i}" in many for i in range(1, 5))


def test_the_report_is_one_file(result: Result, tmp_path: Path) -> None:
    page = result.to_html(tmp_path / "run.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "Difference to mail" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    for figure in FIGURES:
        assert figure.label in page
    alone = Result("shop", 400, 6, {"mail": result.outcomes["mail"][:1]})
    page = alone.to_html(tmp_path / "run.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "Difference" not in page


def test_html_holds_both_tables_and_the_pictures(result: Result) -> None:
    page = result._repr_html_()
    assert page.count("<table>") == 2
    assert page.count("data:image/png;base64,") == 3
    assert "Simulated" in page
    assert "difference to mail" in page
    odd = Result("shop", 400, 6, {"<b>": result.outcomes["mail"]})
    assert "<b>" not in odd._repr_html_()
    assert odd._repr_html_().count("<table>") == 1


def test_a_single_run_has_no_intervals(book: Book) -> None:
    single = book.run([Mail("email"), Silence("none")], weeks=1)
    frame = single.difference()
    assert set(frame.policy) == {"Silence"}
    assert frame.low.isna().all()
    assert not [name for name in single.table.columns if name.endswith("_low")]
    assert "±" not in str(single)
    for plot in (single.plot_recovery(), single.plot_cash(), single.plot_actions()):
        assert isinstance(plot, Plot)
        assert plot.png(60)[:4] == b"\x89PNG"


def test_pictures_say_what_they_show(result: Result) -> None:
    for plot, words in (
        (result.plot_recovery(), "days after the due date"),
        (result.plot_cash(), "weeks"),
        (result.plot_actions(), "week"),
    ):
        (first, *_) = plot.axes
        assert first.get_xlabel() == words
        assert first.get_ylabel()
    lines = result.plot_cash().axes[0].get_lines()
    assert len(lines) == 2
    bars = result.plot_actions().axes[1].patches  # silence
    assert sum(bar.get_height() for bar in bars) == 0


def test_an_unknown_reference(result: Result) -> None:
    with pytest.raises(InputError, match="'mail', 'silence'"):
        result.difference(to="nobody")


def test_a_run_too_short_and_small_for_shares_is_shown_all_the_same(tmp_path: Path) -> None:
    result = Book("shop", accounts=3, seed=1, weeks=1).run({"only": Silence("none")}, weeks=1)
    assert "–" in str(result)
    assert "Simulated: 1 week, 3 accounts" in result.to_html(tmp_path / "x.html").read_text("utf-8")
