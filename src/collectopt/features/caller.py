"""The caller's own columns of accounts and invoices (``Ledger.features``) as features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError
from collectopt.features.inputs import encode
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot


@dataclass(frozen=True)
class CallerColumn:
    """One column: of the account, or of the claim in question.

    Attributes
    ----------
    table : str
        ``accounts`` or ``invoices``.
    column : str
    """

    table: str
    column: str

    def of(
        self, snapshot: Snapshot, subject: pa.Table
    ) -> tuple[npt.NDArray[np.float32], tuple[str, ...] | None]:
        """Give the values for each row.

        Parameters
        ----------
        snapshot : Snapshot
        subject : pyarrow.Table
            rid and inv, the claim in question (null: none), in any order.

        Returns
        -------
        column : numpy.ndarray of float32, shape (n,)
            Numbers, or codes of texts; nan = unknown.
        texts : tuple of str or None
            Texts behind the codes; None for numbers.
        """
        if self.table == "accounts":
            source, at = snapshot.ledger.accounts[self.column], snapshot.rows["account"]
            position = at.combine_chunks()
        else:
            claims = snapshot.ledger.timeline.claims
            source = claims[self.column]
            ordered = subject.take(pc.sort_indices(subject, sort_keys=[("rid", "ascending")]))
            invoice = pc.cast(ordered["inv"], claims["invoice"].type).combine_chunks()
            position = pc.index_in(invoice, value_set=claims["invoice"].combine_chunks())
        texts: tuple[str, ...] | None = None
        if pa.types.is_string(source.type):
            source, texts = encode(source)
        numbers = pc.cast(source, pa.float64(), safe=False)
        taken = pc.fill_null(numbers.take(position), float("nan"))
        return taken.to_numpy(zero_copy_only=False).astype(np.float32), texts


def columns(ledger: Ledger) -> dict[str, CallerColumn]:
    """Find the caller's columns: ``accounts.<column>`` and ``invoices.<column>``.

    Raises
    ------
    InputError
        A column is neither numbers, flags nor texts.
    """
    found: dict[str, CallerColumn] = {}
    for name in ledger.features:
        for table, frame in (
            ("accounts", ledger.accounts),
            ("invoices", ledger.timeline.claims),
        ):
            if name in frame.column_names:
                _check(table, name, frame[name].type)
                found[f"{table}.{name}"] = CallerColumn(table, name)
    return found


def _check(table: str, name: str, kind: pa.DataType) -> None:
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not (numeric or any(test(kind) for test in _OTHER)):
        raise InputError.of(
            table,
            name,
            expected="numbers, flags or texts as a feature",
            found=str(kind),
            hint="Turn dates into days before some fixed event, or leave the column out.",
        )


_OTHER = (pa.types.is_boolean, pa.types.is_string, pa.types.is_null)
