"""The report: one file, nothing from outside, the numbers of its inputs, words that fit."""

from __future__ import annotations

import base64
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import collectopt as co
from collectopt.evaluation import kpis, plots, report
from collectopt.evaluation.chapter_backtest import backtest_chapter
from collectopt.evaluation.chapter_decisions import decision_chapter, pattern
from collectopt.exceptions import InputError
from collectopt.schema.decisions import SCHEMA

from .made import made_decisions, made_result


class Tags(HTMLParser):
    """Checks that tags close and collects what a browser would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in {"meta", "img", "link", "br"}:
            self.open.append(tag)
        self.sources += [value for name, value in attrs if name in {"src", "href"}]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory, result, decisions, tiny):
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    effects = pd.DataFrame({"factor": ["email", "phone"], "effect": [0.012, 0.031]})
    written = report(
        path,
        title="Spring <book>",
        backtest=result,
        kpis=kpis(tiny, "2026-04-01"),
        decisions=decisions,
        effects=effects,
        ledger=tiny,
        facts={"Source": "made up"},
    )
    assert written == path
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_well_formed_and_self_contained(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert len(tags.sources) == 7
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    for source in tags.sources:
        assert base64.b64decode(source.split(",")[1])[:8] == b"\x89PNG\r\n\x1a\n"
    assert "http" not in page
    assert "@import" not in page


def test_it_says_the_numbers(page, result, decisions):
    tags = Tags()
    tags.feed(page)
    text = " ".join("".join(tags.text).split())
    assert "Spring <book>" in text
    assert "&lt;book&gt;" in page
    scores = result.to_pandas()
    for value in scores["log_loss"]:
        assert f"{value:.4f}" in text
    assert "beats ShrunkenRate at 3 of 3 horizons and BaseRate at 3 of 3 horizons" in text
    assert "78.9 days" in text  # DSO of the small book, see test_kpis
    assert f"{decisions.table['cost'].to_numpy().sum():,.2f}" in text
    assert "gentle tone: first contact" in text
    assert "H02 quiet hours" in text
    assert "52 were left out" in text
    for fact in ("Data fingerprint", "sha256", "abc123", "duckdb", "made up"):
        assert fact in text
    assert "nan" not in text.lower().replace("finance", "")


def test_same_inputs_same_bytes(tmp_path, tiny):
    pages = []
    for name in ("a.html", "b.html"):
        path = report(
            tmp_path / name,
            decisions=made_decisions(),
            kpis=kpis(tiny, "2026-04-01"),
            ledger=tiny,
        )
        pages.append(path.read_bytes())
    assert pages[0] == pages[1]


def test_a_model_that_does_not_beat_its_rival_is_told_so():
    result = made_result()
    names = list(result.rows.column_names)
    i, j = names.index("PaymentModel"), names.index("ShrunkenRate")
    names[i], names[j] = names[j], names[i]
    worse = co.evaluation.BacktestResult(
        **{**vars_of(result), "rows": result.rows.rename_columns(names)}
    )
    section = backtest_chapter(worse)
    assert not section.strong
    assert "ShrunkenRate at 0 of 3 horizons (and loses at 3)" in section.verdict


def vars_of(result):
    return {name: getattr(result, name) for name in result.__dataclass_fields__}


def test_parts_may_be_missing(tmp_path, result):
    text = report(tmp_path / "r.html", backtest=result).read_text(encoding="utf-8")
    assert "The decisions" not in text
    with pytest.raises(InputError, match="none of them"):
        report(tmp_path / "none.html")
    assert not (tmp_path / "none.html").exists()


def test_nobody_is_contacted():
    rows = [row for row in made_decisions().table.to_pylist() if row["channel"] == "none"]
    waiting = co.Decisions(pa.Table.from_pylist(rows, schema=SCHEMA), fallbacks={"no model": 3})
    section = decision_chapter(waiting, "EUR")
    assert "everybody waits" in section.verdict
    assert not section.strong
    empty = co.Decisions(SCHEMA.empty_table())
    assert "0 accounts" in decision_chapter(empty, "EUR").lead


def test_scarce_resources_and_fallbacks_are_named(decisions):
    section = decision_chapter(decisions, "EUR")
    assert "phone 1.72 EUR" in section.verdict
    assert section.strong
    fell = co.Decisions(decisions.table, fallbacks={"model failed": 2})
    assert "model failed: 2" in decision_chapter(fell, "EUR").verdict
    assert not decision_chapter(fell, "EUR").strong


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open 1,204.50 EUR for 31 days", "open … EUR for … days"),
        ("H02 quiet hours: 12 actions", "H02 quiet hours: … actions"),
        ("+0.4 pt, -3 pt, 12.5%, z = 1.0).", "… pt, … pt, …, z = …)."),
        (
            "Drawn; otherwise: email, friendly, 08:00 in 2 days.",
            "Drawn; otherwise: another action.",
        ),
        (
            "Waiting: phone, firm, 18:00 today would be worth 3.20 EUR, but scarce.",
            "Waiting: an action would be worth … EUR, but scarce.",
        ),
        ("no numbers", "no numbers"),
    ],
)
def test_sentences_of_one_kind_are_counted_together(text, expected):
    assert pattern(text) == expected


def test_rule_trace_counts_accounts_and_actions():
    rows = made_decisions(3).table.to_pylist()
    traces = [["CONSENT: 252 refused", "HOURS: 100 refused"], ["CONSENT: 8 refused"], None]
    for row, trace in zip(rows, traces, strict=True):
        row["rule_trace"] = trace
    section = decision_chapter(co.Decisions(pa.Table.from_pylist(rows, schema=SCHEMA)), "EUR")
    table = section.blocks[-1].pair[1].table
    assert [[cell.text for cell, _ in row.cells] for row in table.rows] == [
        ["CONSENT", "2", "260"],
        ["HOURS", "1", "100"],
    ]


def test_a_policy_without_probabilities():
    """A fixed ladder knows neither chances nor values."""
    rows = made_decisions(50).table.to_pylist()
    for row in rows:
        row.update(dict.fromkeys(("p_pay", "p_pay_if_wait", "uplift", "value")))
    ladder = co.Decisions(pa.Table.from_pylist(rows, schema=SCHEMA))
    section = decision_chapter(ladder, "EUR")
    assert "puts no value on them" in section.verdict
    text = " ".join(cell.text for row in section.blocks[0].table.rows for cell, _ in row.cells)
    assert "nan" not in text


def test_plots_leave_no_global_state(result):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figures = [
        result.plot_reliability(),
        result.plot_roc(),
        result.plot_by_cut(),
        result.plot_gains(),
        plots.histogram(np.array([]), unit="x"),
        plots.histogram(np.array([0.5, 0.5]), unit="x", log=True),
        plots.histogram(np.array([0.3, 0.1 + 0.2]), unit="the same but for rounding"),
        plots.bars(["a", "b"], [0.2, 0.8], unit="share", share=True),
        plots.bars([], [], unit="rows"),
    ]
    for figure in figures:
        first = figure._repr_png_()
        assert first[:8] == b"\x89PNG\r\n\x1a\n"
        assert figure._repr_png_() == first
    assert dict(mpl.rcParams) == before
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []
