"""Segments of a book: customer type and country, and the region within the country."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot

Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Segments:
    """Accounts and segments that a model knows, to find them again in a later ledger.

    Attributes
    ----------
    ids : pyarrow.Array
        account_id of all accounts.
    segments : tuple of str
        Customer type and country.
    regions : tuple of str
        Country and region.
    """

    ids: pa.Array
    segments: tuple[str, ...]
    regions: tuple[str, ...]

    @classmethod
    def of(cls, ledger: Ledger) -> Self:
        """Take those of a ledger."""
        segments, regions = _texts(ledger)
        return cls(
            ledger.accounts["account_id"].combine_chunks(),
            tuple(sorted(set(segments))),
            tuple(sorted(set(regions) - {None, ""})),  # type: ignore[arg-type]
        )

    def codes(self, ledger: Ledger) -> Int:
        """Segment and region of each account of a ledger, (n, 2); -1 = not known."""
        segments, regions = _texts(ledger)
        return np.column_stack([numbers(segments, self.segments), numbers(regions, self.regions)])

    def find(self, snapshot: Snapshot) -> tuple[Int, Int]:
        """Give each row's account among `ids`, (n,), and its codes, (n, 2); -1 = not known."""
        found = pc.index_in(snapshot.rows["account_id"].combine_chunks(), value_set=self.ids)
        number = pc.fill_null(found, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        return number, self.codes(snapshot.ledger)[snapshot.rows["account"].to_numpy()]


def numbers(values: Sequence[str | None], known: tuple[str, ...]) -> Int:
    """Give the places of texts among the known ones; -1 = not there.

    Examples
    --------
    >>> numbers(["b", None, "c"], ("a", "b")).tolist()
    [1, -1, -1]
    """
    place: dict[str | None, int] = {text: i for i, text in enumerate(known)}
    return np.array([place.get(text, -1) for text in values], dtype=np.int64)


def _texts(ledger: Ledger) -> tuple[list[str], list[str | None]]:
    accounts = ledger.accounts
    kind, country = accounts["customer_type"], accounts["country"]
    segments = pc.binary_join_element_wise(kind, country, "|")
    regions = pc.binary_join_element_wise(country, accounts["region"], "|")
    return segments.to_pylist(), regions.to_pylist()
