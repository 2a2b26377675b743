"""The ledger: six tables of facts about accounts, checked once and trusted from then on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collectopt.exceptions import Fault, InputError
from collectopt.schema import tables as t
from collectopt.schema.atomic import atomic_folder
from collectopt.schema.frames import to_arrow
from collectopt.schema.timeline import Timeline, build
from collectopt.schema.validate import Names, read_tables, zones_of

if TYPE_CHECKING:
    from collectopt.schema.catalogue import Catalogue

_META = "ledger.json"


@dataclass(frozen=True, eq=False)
class Ledger:
    """Accounts with their invoices, payments, contacts, responses and holds.

    Make one with :meth:`from_frames` or :meth:`from_parquet`; they check everything and raise one
    error that lists every fault.

    Attributes
    ----------
    accounts, invoices, payments, contacts, responses, holds : pyarrow.Table
        Canonical columns, optional ones included (null where not given), sorted by their keys.
        Amounts are decimals in the account's currency, instants are UTC, dates are local.
    features : tuple of str
        Extra columns of accounts and invoices that models may use.
    timezone : str
        IANA zone of accounts that name none.
    remarks : tuple of Fault
        What is odd but was accepted (a due date before the date of issue, for example).

    Examples
    --------
    >>> ledger = Ledger.from_frames(
    ...     accounts=[{"account_id": "A1", "customer_type": "consumer", "country": "DE"}],
    ...     invoices=[{"invoice_id": "I1", "account_id": "A1", "issued_on": "2026-01-02",
    ...                "due_on": "2026-01-16", "amount": 80.0, "currency": "EUR"}],
    ... )
    >>> ledger
    Ledger(accounts=1, invoices=1, payments=0, contacts=0, responses=0, holds=0)
    """

    accounts: pa.Table
    invoices: pa.Table
    payments: pa.Table
    contacts: pa.Table
    responses: pa.Table
    holds: pa.Table
    features: tuple[str, ...] = ()
    timezone: str = "UTC"
    remarks: tuple[Fault, ...] = ()

    @classmethod
    def from_frames(
        cls,
        *,
        accounts: Any,
        invoices: Any,
        payments: Any = None,
        contacts: Any = None,
        responses: Any = None,
        holds: Any = None,
        features: Sequence[str] = (),
        timezone: str = "UTC",
        catalogue: Catalogue | None = None,
    ) -> Ledger:
        """Check and load a book from frames of any kind.

        Parameters
        ----------
        accounts, invoices : frame
            pandas, polars, pyarrow, a DuckDB relation, a list of dicts, or anything with
            ``__arrow_c_stream__``.
        payments, contacts, responses, holds : frame or None
            Missing tables are empty. Holds may have a `reason`, which decisions then tell.
        features : sequence of str
            Columns of accounts and invoices beyond the known ones to keep for models.
        timezone : str
            IANA zone of accounts that name none.
        catalogue : Catalogue or None
            Makes its own channels and tones known.

        Raises
        ------
        InputError
            Lists every fault with table, column, rows, what was expected and a hint.
        """
        given = {
            "accounts": accounts,
            "invoices": invoices,
            "payments": payments,
            "contacts": contacts,
            "responses": responses,
            "holds": holds,
        }
        if isinstance(features, str):
            features = (features,)
        frames: dict[str, pa.Table | None] = {}
        faults: list[Fault] = []
        for name, frame in given.items():
            try:
                frames[name] = None if frame is None else to_arrow(frame, name, faults)
            except InputError as error:
                faults += error.faults
                frames[name] = None
        unread = {(f.table, f.column) for f in faults}
        names = (
            Names() if catalogue is None else Names(catalogue.channel_names, catalogue.tone_names)
        )
        tables, found = read_tables(frames, tuple(features), timezone, names)
        faults += [f for f in found if (f.table, f.column) not in unread]
        if faults:
            raise InputError(faults)
        ordered = {spec.name: sort_rows(spec, tables[spec.name]) for spec in t.TABLES}
        return cls(
            **ordered,
            features=tuple(features),
            timezone=timezone,
            remarks=(*_remarks(ordered["invoices"]), *_unused(frames, tuple(features))),
        )

    @classmethod
    def from_parquet(
        cls,
        path: str | Path,
        *,
        features: Sequence[str] | None = None,
        timezone: str | None = None,
        catalogue: Catalogue | None = None,
    ) -> Ledger:
        """Check and load a folder with ``accounts.parquet``, ``invoices.parquet`` and so on.

        Parameters
        ----------
        path : str or Path
            The folder. Tables other than accounts and invoices may be missing.
        features, timezone
            As in :meth:`from_frames`; None takes what :meth:`to_parquet` wrote.
        catalogue : Catalogue or None

        Raises
        ------
        InputError
        """
        folder = Path(path)
        if not folder.is_dir():
            found = "a file: name its folder" if folder.exists() else "no such folder"
            raise InputError.of(
                str(path), None, expected="a folder with parquet files", found=found
            )
        meta: dict[str, Any] = {}
        if (folder / _META).is_file():
            meta = json.loads((folder / _META).read_text(encoding="utf-8"))
        frames: dict[str, pa.Table | None] = {}
        faults: list[Fault] = []
        for spec in t.TABLES:
            file = folder / f"{spec.name}.parquet"
            try:
                frames[spec.name] = pq.read_table(file) if file.exists() else None
            except (pa.ArrowException, OSError) as error:
                reason = str(error).split("\n")[0][:120]
                faults.append(Fault(str(file), None, "a parquet file", reason))
                frames[spec.name] = None
        absent = [name for name in ("accounts", "invoices") if frames[name] is None]
        if not faults and absent:
            files = " and ".join(f"{name}.parquet" for name in absent)
            there = ", ".join(sorted(file.name for file in folder.iterdir())[:5]) or "nothing"
            expected = f"{files} in this folder"
            faults.append(Fault(str(path), None, expected, there))
        if faults:
            raise InputError(faults)
        return cls.from_frames(
            **frames,
            features=tuple(meta.get("features", ())) if features is None else features,
            timezone=meta.get("timezone", "UTC") if timezone is None else timezone,
            catalogue=catalogue,
        )

    def to_parquet(self, path: str | Path) -> None:
        """Write the six tables to a folder; it appears whole or not at all.

        Parameters
        ----------
        path : str or Path
            Must not exist, or be a folder that such a call wrote.
        """
        with atomic_folder(Path(path), marker=_META) as folder:
            for spec in t.TABLES:
                pq.write_table(self.table(spec.name), folder / f"{spec.name}.parquet")
            meta = {"features": list(self.features), "timezone": self.timezone}
            (folder / _META).write_text(json.dumps(meta), encoding="utf-8")

    def table(self, name: str) -> pa.Table:
        """Give one of the six tables by name."""
        return getattr(self, name)

    @cached_property
    def account_ids(self) -> npt.NDArray[np.object_]:
        """Ids of all accounts, sorted; shape (accounts,)."""
        return self.accounts["account_id"].to_numpy()

    @cached_property
    def zones(self) -> pa.Array:
        """Time zone of each account; shape (accounts,)."""
        return zones_of(self.accounts, self.accounts, self.timezone)

    @cached_property
    def timeline(self) -> Timeline:
        """What is known when; see :class:`~collectopt.schema.timeline.Timeline`."""
        return build({spec.name: self.table(spec.name) for spec in t.TABLES}, self.zones)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tables' content: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        for spec in t.TABLES:
            table = self.table(spec.name).combine_chunks()
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, table.schema) as writer:
                writer.write_table(table)
            digest.update(sink.getvalue())
        digest.update(json.dumps([list(self.features), self.timezone]).encode())
        return digest.hexdigest()

    def __repr__(self) -> str:
        sizes = ", ".join(f"{spec.name}={len(self.table(spec.name))}" for spec in t.TABLES)
        return f"Ledger({sizes})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{spec.name}</th><td style='text-align:right'>"
            f"{len(self.table(spec.name)):,}</td></tr>"
            for spec in t.TABLES
        )
        return f"<table><caption>Ledger</caption>{rows}</table>"


def sort_rows(spec: t.Table, table: pa.Table) -> pa.Table:
    """Sort a canonical table by its keys."""
    keys = [(name, "ascending") for name in spec.order if name in table.column_names]
    return table.take(pc.sort_indices(table, sort_keys=keys)).combine_chunks()


def _unused(frames: dict[str, pa.Table | None], features: tuple[str, ...]) -> list[Fault]:
    """Columns that nobody reads: perhaps misspelt."""
    found = []
    for spec in t.TABLES:
        known = {column.name for column in spec.columns} | set(features)
        frame = frames.get(spec.name)
        for name in [] if frame is None else frame.column_names:
            if name not in known and not (spec.name == "accounts" and name.endswith("_ok")):
                found.append(
                    Fault(spec.name, name, "a known column, or one named in features", "it unused")
                )
    return found


def _remarks(invoices: pa.Table) -> list[Fault]:
    early = pc.less(invoices["due_on"], invoices["issued_on"]).to_numpy()
    rows = np.flatnonzero(early)
    if not len(rows):
        return []
    ids = invoices["invoice_id"].take(pa.array(rows[:1])).to_pylist()
    return [
        Fault(
            "invoices",
            "due_on",
            "a due date on or after the date of issue",
            f"{len(rows)} invoices due earlier, such as {ids[0]}",
            hint="They count as due at once.",
        )
    ]
