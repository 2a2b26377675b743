"""Computes features: SQL in DuckDB over the Arrow tables of the ledger."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from collectopt.exceptions import Fault, InputError
from collectopt.features.caller import CallerColumn, columns
from collectopt.features.catalogue import DEFINITIONS
from collectopt.features.claims import SUBJECT
from collectopt.features.definition import CHANNEL, Facts, Feature, Step
from collectopt.features.inputs import Inputs
from collectopt.features.matrix import FeatureMatrix
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import session

Floats = npt.NDArray[np.float32]
_CHANNELS = "contacts.channel"
_LAST_CHANNEL = "last_channel"
#: Names and categories of a matrix, as :func:`compute` takes them.
Request = tuple[Sequence[str] | None, Mapping[str, Sequence[str]] | None]


def compute(
    snapshot: Snapshot,
    names: Sequence[str] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
    *,
    threads: int = 1,
) -> FeatureMatrix:
    """Compute features of all rows of a snapshot, each from what was known before its as_of.

    Rows that name an invoice have that claim as the claim in question; other rows the open claim
    that is due first.

    Parameters
    ----------
    snapshot : Snapshot
        Any number of accounts and of as-of times.
    names : sequence of str or None
        Features wanted, in this order; None = all, the channels being those used before the
        latest as_of, and the caller's own columns.
    categories : mapping of str to sequence of str or None
        Codes of categories, as in the matrix of an earlier run; a value not listed becomes nan.
        None learns them from the rows. Those of ``last_channel`` are the channels.
    threads : int
        Threads of the engine.

    Returns
    -------
    FeatureMatrix
        (n, d), in the order of the snapshot's rows. Finite but for categories (none) and for the
        caller's own numbers, credit_score and lifetime_value (unknown).

    Raises
    ------
    InputError
        A name is no feature.

    Examples
    --------
    >>> from collectopt.schema import Ledger, Snapshot
    >>> ledger = Ledger.from_frames(
    ...     accounts=[{"account_id": "A1", "customer_type": "consumer", "country": "DE"}],
    ...     invoices=[{"invoice_id": "I1", "account_id": "A1", "issued_on": "2026-01-02",
    ...                "due_on": "2026-01-16", "amount": 80.0, "currency": "EUR"}],
    ... )
    >>> snapshot = Snapshot(ledger, as_of="2026-01-20")
    >>> matrix = compute(snapshot, ["open_amount", "days_past_due"])
    >>> matrix.values.tolist()
    [[80.0, 4.0]]
    """
    return compute_each(snapshot, [(names, categories)], threads=threads)[0]


def compute_each(
    snapshot: Snapshot,
    wanted: Sequence[Request],
    *,
    threads: int = 1,
) -> tuple[FeatureMatrix, ...]:
    """Compute several matrices of one snapshot; what they share is computed once.

    Parameters
    ----------
    snapshot : Snapshot
    wanted : sequence of (names, categories)
        For each matrix, as in :func:`compute`.
    threads : int

    Returns
    -------
    tuple of FeatureMatrix
        One each; the same as that of :func:`compute`.

    Raises
    ------
    InputError
        A name is no feature.
    """
    inputs = Inputs.of(snapshot)
    plans = [_Plan.of(inputs, columns(snapshot.ledger), *request) for request in wanted]
    features = {feature.name: feature for plan in plans for feature in plan.features}
    own = {name: column for plan in plans for name, column in plan.own.items()}
    values = [np.empty((len(snapshot), len(plan.order)), dtype=np.float32) for plan in plans]
    found: list[dict[str, tuple[str, ...]]] = [{} for _ in plans]
    for name, column, texts in _columns(snapshot, inputs, tuple(features.values()), own, threads):
        for plan, matrix, codes in zip(plans, values, found, strict=True):
            if name in plan.place:
                coded = column
                if texts is not None:
                    coded, codes[name] = recode(column, texts, plan.known.get(name))
                matrix[:, plan.place[name]] = coded
    for matrix in values:
        matrix.flags.writeable = False
    return tuple(
        FeatureMatrix(
            matrix, plan.order, {name: codes[name] for name in plan.order if name in codes}
        )
        for plan, matrix, codes in zip(plans, values, found, strict=True)
    )


@dataclass(frozen=True)
class _Plan:
    """Columns of one matrix.

    Attributes
    ----------
    features : tuple of Feature
    own : mapping of str to CallerColumn
    order : tuple of str
        Names of all columns.
    place : mapping of str to int
        Where each stands.
    known : mapping of str to sequence of str
        Codes that are given.
    """

    features: tuple[Feature, ...]
    own: Mapping[str, CallerColumn]
    order: tuple[str, ...]
    place: Mapping[str, int]
    known: Mapping[str, Sequence[str]]

    @classmethod
    def of(
        cls,
        inputs: Inputs,
        own: Mapping[str, CallerColumn],
        names: Sequence[str] | None,
        categories: Mapping[str, Sequence[str]] | None,
    ) -> _Plan:
        channels = _channels(inputs, categories)
        if names is None:
            features = _expand(channels, inputs)
            order = (*(feature.name for feature in features), *own)
        else:
            features = _find(names, own, inputs)
            order = tuple(names)
            own = {name: own[name] for name in names if name in own}
        known = {_LAST_CHANNEL: channels} | dict(categories or {})
        place = {name: i for i, name in enumerate(order)}
        return cls(tuple(features), own, order, place, known)


def _columns(
    snapshot: Snapshot,
    inputs: Inputs,
    features: Sequence[Feature],
    own: Mapping[str, CallerColumn],
    threads: int,
) -> Iterator[tuple[str, Floats, tuple[str, ...] | None]]:
    """Name, values (or codes) and the texts behind the codes of each column."""
    with session(inputs.tables, threads=threads) as connection:
        done: set[str] = set()
        for _, group in groupby(sorted(features, key=_facts_name), key=_facts_name):
            one_kind = tuple(group)
            _run_steps(connection, one_kind[0].facts.needs, done)
            for feature, column in _query(connection, one_kind, len(snapshot)):
                codes = feature.codes
                yield feature.name, column, None if codes is None else inputs.values[codes]
        if own:
            _run_steps(connection, (SUBJECT,), done)
            subject = connection.sql("SELECT rid, inv FROM subject").to_arrow_table()
            for name, caller_column in own.items():
                yield name, *caller_column.of(snapshot, subject)


def _facts_name(feature: Feature) -> str:
    return feature.facts.name


def recode(
    codes: Floats, texts: Sequence[str], known: Sequence[str] | None
) -> tuple[Floats, tuple[str, ...]]:
    """Turn codes into `texts` into codes into `known` (None: the sorted values that occur)."""
    valid = codes >= 0
    whole = np.where(valid, codes, 0).astype(np.int64)
    if known is None:
        known = [texts[code] for code in np.unique(whole[valid])]
    position = {text: float(i) for i, text in enumerate(known)}
    table = np.array([*(position.get(text, np.nan) for text in texts), np.nan], dtype=np.float32)
    return np.where(valid, table[whole], np.float32(np.nan)), tuple(known)


def _channels(inputs: Inputs, categories: Mapping[str, Sequence[str]] | None) -> tuple[str, ...]:
    """Channels as handed in, or those used before the latest as_of: not one from the future."""
    if categories is not None and _LAST_CHANNEL in categories:
        return tuple(categories[_LAST_CHANNEL])
    latest = pc.max(inputs.tables["snap"]["t"])
    contacts = inputs.tables["contact"]
    if not latest.is_valid or not len(contacts):
        return ()
    codes = pc.unique(contacts["channel"].filter(pc.less(contacts["known"], latest))).to_pylist()
    return tuple(sorted(inputs.values[_CHANNELS][code] for code in codes))


def _of_channel(feature: Feature, channel: str, inputs: Inputs) -> Feature:
    values = inputs.values[_CHANNELS]
    return feature.of_channel(channel, values.index(channel) if channel in values else -1)


def _expand(channels: Iterable[str], inputs: Inputs) -> list[Feature]:
    """All features; those of channels once for each."""
    listed = list(channels)
    return [
        one
        for feature in DEFINITIONS
        for one in (
            [_of_channel(feature, channel, inputs) for channel in listed]
            if feature.per_channel
            else [feature]
        )
    ]


def _find(names: Sequence[str], own: Mapping[str, object], inputs: Inputs) -> list[Feature]:
    """Give the declared features of these names; `own` columns are known too."""
    plain = {f.name: f for f in DEFINITIONS if not f.per_channel}
    stems = {f.name.removesuffix(CHANNEL): f for f in DEFINITIONS if f.per_channel}
    found: list[Feature] = []
    faults: list[Fault] = []
    for name in dict.fromkeys(names):
        stem = next((s for s in stems if name.startswith(s) and name != s), None)
        if name in plain:
            found.append(plain[name])
        elif stem is not None:
            found.append(_of_channel(stems[stem], name.removeprefix(stem), inputs))
        elif name not in own:
            near = difflib.get_close_matches(name, [*plain, *own], n=3)
            hint = f"Did you mean {', '.join(near)}?" if near else "See features.describe()."
            faults.append(Fault("features", name, "the name of a feature", repr(name), hint=hint))
    if len(set(names)) < len(names):
        faults.append(Fault("features", None, "each name once", "a name twice"))
    if faults:
        raise InputError(faults)
    return found


def _run_steps(
    connection: duckdb.DuckDBPyConnection, steps: Iterable[Step], done: set[str]
) -> None:
    for step in steps:
        if step.name not in done:
            _run_steps(connection, step.needs, done)
            connection.execute(f"CREATE TEMP TABLE {step.name} AS {step.sql}")
            done.add(step.name)


def _query(
    connection: duckdb.DuckDBPyConnection, features: Sequence[Feature], n: int
) -> Iterable[tuple[Feature, Floats]]:
    """Columns of the features of one kind of facts, defaults where nothing is known."""
    sql = statement(features[0].facts, [feature.sql for feature in features])
    result = connection.execute(sql).fetchnumpy()
    rows = result["rid"]
    for position, feature in enumerate(features):
        known = result[f"f{position}"]
        column = np.full(n, feature.default, dtype=np.float32)
        column[rows] = np.where(np.isnan(known), np.float32(feature.default), known)
        yield feature, column


def statement(facts: Facts, expressions: Sequence[str]) -> str:
    """Write the SQL that evaluates expressions over facts; nan where they are null."""
    listed = ", ".join(
        f"coalesce(CAST({sql} AS FLOAT), CAST('nan' AS FLOAT)) AS f{position}"
        for position, sql in enumerate(expressions)
    )
    group = " GROUP BY rid" if facts.grouped else ""
    return f"SELECT rid, {listed} FROM ({facts.sql}) AS facts{group}"
