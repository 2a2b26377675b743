"""Fixtures from made-up inputs."""

from __future__ import annotations

import pytest

import collectopt as co
from collectopt.evaluation.result import BacktestResult

from .made import made_decisions, made_result, tiny_tables


@pytest.fixture(scope="session")
def tiny() -> co.Ledger:
    return co.Ledger.from_frames(**tiny_tables())


@pytest.fixture(scope="session")
def result() -> BacktestResult:
    return made_result()


@pytest.fixture(scope="session")
def decisions() -> co.Decisions:
    return made_decisions()
