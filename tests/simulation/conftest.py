from __future__ import annotations

import pytest

from collectopt.simulation import Book


@pytest.fixture(scope="session")
def shop() -> Book:
    return Book("shop", accounts=10_000, seed=3)


@pytest.fixture(scope="session")
def placebo() -> Book:
    return Book("placebo", accounts=10_000, seed=3)


@pytest.fixture(scope="session")
def small() -> Book:
    return Book("shop", accounts=400, seed=11, weeks=40)
