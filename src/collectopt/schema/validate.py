"""Everything that can be wrong with a ledger, found in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import Fault
from collectopt.schema import tables as t
from collectopt.schema.coerce import coerce, example, fault
from collectopt.schema.sql import query
from collectopt.schema.times import INSTANT, end_of_local_day, is_timezone


@dataclass(frozen=True)
class Names:
    """Channel and tone names that a log may use beside the well-known ones."""

    channels: tuple[str, ...] = ()
    tones: tuple[str, ...] = ()


def read_tables(
    frames: Mapping[str, pa.Table | None],
    features: tuple[str, ...],
    timezone: str,
    names: Names,
) -> tuple[dict[str, pa.Table], list[Fault]]:
    """Bring all tables to canonical types and list every fault.

    Parameters
    ----------
    frames : mapping of str to pyarrow.Table or None
        The six tables as given; None = missing.
    features : tuple of str
        Extra columns of accounts and invoices to keep.
    timezone : str
        Zone of accounts that name none.
    names : Names
        More channels and tones.

    Returns
    -------
    tables : dict of str to pyarrow.Table
        Canonical tables in the caller's row order; usable only if there are no faults.
    faults : list of Fault
    """
    faults: list[Fault] = []
    read: dict[str, pa.Table] = {}
    for spec in t.TABLES:
        frame = frames.get(spec.name)
        if frame is None and spec.required:
            faults.append(Fault(spec.name, None, "a table", "nothing"))
        read[spec.name], found = _read_table(spec, frame, features)
        faults += found
    faults += _check_features(frames, features)
    if not is_timezone(timezone):
        faults.append(Fault("timezone", None, "an IANA time zone", repr(timezone)))
        timezone = "UTC"
    faults += _check_values(read, names)
    read["accounts"] = _without_odd_zones(read["accounts"])
    read = _dates_to_instants(read, timezone)
    faults += _check_relations(read, timezone)
    return read, faults


def _read_table(
    spec: t.Table, frame: pa.Table | None, features: tuple[str, ...]
) -> tuple[pa.Table, list[Fault]]:
    if frame is None or frame.shape == (0, 0):
        empty = [] if frame is None or not spec.required else [_no_rows(spec)]
        return spec.schema.empty_table(), empty
    faults: list[Fault] = []
    columns: dict[str, pa.Array] = {}
    for column in spec.columns:
        if column.name not in frame.column_names:
            if column.required:
                have = ", ".join(map(str, frame.column_names)) or "no columns"
                faults.append(Fault(spec.name, column.name, "this column", f"only {have}"))
            if not column.sparse:
                columns[column.name] = pa.nulls(len(frame), column.type.arrow)
            continue
        values, found = coerce(spec.name, column, frame[column.name])
        faults += found
        if not column.sparse or values.null_count < len(values):
            columns[column.name] = values
    if spec.required and len(frame) == 0:
        faults.append(_no_rows(spec))
    more, found = _more_columns(spec, frame, features)
    return pa.table({**columns, **more}), faults + found


def _no_rows(spec: t.Table) -> Fault:
    return Fault(spec.name, None, "at least one row", "an empty table")


def _more_columns(
    spec: t.Table, frame: pa.Table, features: tuple[str, ...]
) -> tuple[dict[str, pa.Array], list[Fault]]:
    """Consent columns of accounts, and the caller's own columns that are named as features."""
    columns: dict[str, pa.Array] = {}
    faults: list[Fault] = []
    own = {column.name for column in spec.columns}
    for name in frame.column_names:
        if spec.name == "accounts" and name.endswith("_ok") and name not in own:
            column = t.Column(name, t.Type.FLAG)
            columns[name], found = coerce(spec.name, column, frame[name])
            faults += found
        elif spec.name in {"accounts", "invoices"} and name in features and name not in own:
            columns[name] = _feature(frame[name])
    return columns, faults


def _feature(values: pa.ChunkedArray) -> pa.Array:
    """Keep a caller's extra column as a number or as text."""
    kind = values.type
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if numeric or pa.types.is_boolean(kind):
        array = pc.cast(pc.cast(values, pa.float64(), safe=False).combine_chunks(), pa.float64())
        return pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    return pc.cast(values, pa.string()).combine_chunks()


def _check_features(
    frames: Mapping[str, pa.Table | None], features: tuple[str, ...]
) -> Iterable[Fault]:
    have = {
        name
        for table in ("accounts", "invoices")
        if (frame := frames.get(table)) is not None
        for name in frame.column_names
    }
    for name in features:
        if name not in have:
            yield Fault("features", name, "a column of accounts or invoices", "no such column")


def _check_values(read: Mapping[str, pa.Table], names: Names) -> list[Fault]:
    faults: list[Fault] = []
    accounts, invoices, contacts = read["accounts"], read["invoices"], read["contacts"]
    consents = [n.removesuffix("_ok") for n in accounts.column_names if n.endswith("_ok")]
    catalogue = "Name it in the catalogue and pass it: from_frames(..., catalogue=...)."
    checks = (
        ("channel", (*t.CHANNELS, *consents, *names.channels), catalogue),
        ("tone", (*t.TONES, *names.tones), catalogue),
    )
    for column, known, hint in checks:
        values = contacts[column].combine_chunks()
        bad = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(known))))
        if pc.any(bad).as_py():
            expected = f"a known {column} ({', '.join(dict.fromkeys(known))})"
            faults.append(fault("contacts", column, bad, expected, example(values, bad), hint))
    faults += _where(
        "contacts",
        "propensity",
        contacts["propensity"],
        lambda p: pc.or_(pc.less_equal(p, 0.0), pc.greater(p, 1.0)),
        "a probability in (0, 1]",
    )
    faults += _where(
        "contacts", "cost", contacts["cost"], lambda c: pc.less(c, 0.0), "a cost of 0 EUR or more"
    )
    faults += _where(
        "invoices",
        "currency",
        invoices["currency"],
        lambda c: pc.invert(pc.is_in(c, pa.array(sorted(t.CURRENCIES)))),
        "an ISO 4217 code such as EUR",
    )
    zones = accounts["timezone"]
    odd = [z for z in pc.unique(zones).to_pylist() if z is not None and not is_timezone(z)]
    if odd:
        faults += _where(
            "accounts",
            "timezone",
            zones,
            lambda z: pc.is_in(z, pa.array(odd)),
            "an IANA time zone such as Europe/Berlin",
        )
    return faults


def _where(
    table: str,
    column: str,
    values: pa.ChunkedArray,
    bad: Callable[[pa.Array], pa.Array],
    expected: str,
) -> list[Fault]:
    array = values.combine_chunks()
    mask = pc.fill_null(pc.and_(pc.is_valid(array), bad(array)), fill_value=False)
    if not pc.any(mask).as_py():
        return []
    return [fault(table, column, mask, expected, example(array, mask))]


def zones_of(table: pa.Table, accounts: pa.Table, timezone: str) -> pa.Array:
    """Time zone of each row of a table, by its account.

    Parameters
    ----------
    table : pyarrow.Table with a column ``account_id``
    accounts : pyarrow.Table
    timezone : str
        For accounts that name none, and rows of unknown accounts.
    """
    zone = pc.fill_null(accounts["timezone"].combine_chunks(), timezone)
    where = pc.index_in(
        table["account_id"].combine_chunks(), value_set=accounts["account_id"].combine_chunks()
    )
    return pc.fill_null(zone.take(where), timezone)


def _without_odd_zones(accounts: pa.Table) -> pa.Table:
    """Blank time zones that do not exist, so that the other checks can go on."""
    zones = [z if z and is_timezone(z) else None for z in accounts["timezone"].to_pylist()]
    index = accounts.column_names.index("timezone")
    return accounts.set_column(index, "timezone", pa.array(zones, pa.string()))


def _dates_to_instants(read: dict[str, pa.Table], timezone: str) -> dict[str, pa.Table]:
    """Where only the day of an instant is known, the row is known from the next midnight on."""
    result = dict(read)
    for spec in t.TABLES:
        table = result[spec.name]
        for column in spec.columns:
            if column.type is t.Type.INSTANT and table.schema.field(column.name).type != INSTANT:
                where = zones_of(table, read["accounts"], timezone)
                days = table[column.name].combine_chunks()
                index = table.column_names.index(column.name)
                table = table.set_column(index, column.name, end_of_local_day(days, where))
        result[spec.name] = table
    return result


def _check_relations(read: Mapping[str, pa.Table], timezone: str) -> Iterable[Fault]:
    """Keys, references and everything that spans rows; skips columns that could not be read."""
    blocked = {
        (spec.name, column.name)
        for spec in t.TABLES
        for column in spec.columns
        if column.required
        and read[spec.name][column.name].null_count == len(read[spec.name])
        and (len(read[spec.name]) or spec.required)
    }
    tables = {
        name: table.append_column("row", pa.array(range(len(table)), pa.int64()))
        for name, table in read.items()
    }
    checks = [
        check
        for check in _RELATIONS
        if len(read[check.needs[0][0]]) and not blocked & set(check.needs)
    ]
    if not checks:
        return
    parts = [
        f"select {i} as number, row, cast(found as varchar) as found from ({check.sql})"
        for i, check in enumerate(checks)
    ]
    sql = " union all ".join(parts).format(timezone=timezone)
    found = query(f"{sql} order by number, row", tables)
    for i, check in enumerate(checks):
        rows = found.filter(pc.equal(found["number"], i))
        if len(rows):
            table, column = check.needs[0]
            numbers = rows["row"].to_pylist()
            example_ = rows["found"][0].as_py()
            first = tuple(numbers[:5])
            yield Fault(table, column, check.expected, example_, first, len(numbers), check.hint)


@dataclass(frozen=True)
class _Relation:
    """A query that returns the rows at fault (row, found); needs[0] is where the fault lies."""

    needs: tuple[tuple[str, str | None], ...]
    expected: str
    sql: str
    hint: str = ""


def _unique(table: str, column: str) -> _Relation:
    return _Relation(
        ((table, column),),
        "each key once",
        f"""select row, {column} || ' again' as found from {table}
        where {column} is not null
        qualify row_number() over (partition by {column} order by row) > 1""",
    )


def _known(table: str, column: str, other: str) -> _Relation:
    return _Relation(
        ((table, column), (other, column)),
        f"a {column} of {other}",
        f"""select row, {column} as found from {table}
        where {column} is not null and {column} not in
        (select {column} from {other} where {column} is not null)""",
        f"Add the missing rows to {other}, or drop these.",
    )


def _same_account(table: str) -> _Relation:
    return _Relation(
        ((table, "invoice_id"), ("invoices", "invoice_id"), (table, "account_id")),
        "an invoice of the same account",
        f"""select x.row, x.invoice_id || ' of account ' || i.account_id as found
        from {table} x join invoices i using (invoice_id) where x.account_id <> i.account_id""",
    )


_RELATIONS = (
    *(_unique(s.name, s.columns[0].name) for s in t.TABLES if s.keyed),
    *(_known(s.name, "account_id", "accounts") for s in t.TABLES[1:]),
    _known("payments", "invoice_id", "invoices"),
    _known("holds", "invoice_id", "invoices"),
    _known("responses", "contact_id", "contacts"),
    _same_account("payments"),
    _same_account("holds"),
    _Relation(
        (("responses", "contact_id"), ("contacts", "contact_id"), ("contacts", "account_id")),
        "a contact of the same account",
        """select r.row, r.contact_id || ' of account ' || c.account_id as found
        from responses r join contacts c using (contact_id) where r.account_id <> c.account_id""",
    ),
    _Relation(
        (("payments", "paid_at"), ("payments", "invoice_id"), ("invoices", "issued_on")),
        "a payment on or after the local day its invoice was issued",
        """select p.row, 'paid ' || cast(p.paid_at as varchar) || ', issued '
               || cast(i.issued_on as varchar) as found
        from payments p join invoices i using (invoice_id) join accounts a
             on a.account_id = p.account_id
        where cast(timezone(coalesce(a.timezone, '{timezone}'), p.paid_at) as date)
              < i.issued_on""",
        "A payment in advance has no invoice yet: leave its invoice_id empty.",
    ),
    _Relation(
        (("invoices", "amount"), ("invoices", "kind")),
        "amounts below 0 for credit notes alone, and every credit note below 0",
        """select row, coalesce(kind, 'invoice') || ' of ' || cast(amount as varchar) as found
        from invoices where (amount < 0) <> (coalesce(kind, 'invoice') = 'credit_note')
        and amount is not null""",
        "Set kind to credit_note, or turn the sign.",
    ),
    _Relation(
        (("invoices", "currency"), ("invoices", "account_id")),
        "one currency within an account",
        """select row, account_id || ' has ' || cast(n as varchar) || ' currencies' as found
        from (select row, account_id, currency, first_value(currency) over w as usual,
                     count(distinct currency) over (partition by account_id) as n
              from invoices window w as (partition by account_id order by row))
        where n > 1 and currency <> usual""",
        "Split the account by currency.",
    ),
    _Relation(
        (("holds", "to_on"), ("holds", "from_on")),
        "an end on or after the start",
        """select row, cast(from_on as varchar) || ' to ' || cast(to_on as varchar) as found
        from holds where to_on < from_on""",
    ),
    _Relation(
        (("contacts", "decided_at"), ("contacts", "sent_at")),
        "a decision no later than the contact it chose",
        """select row, 'decided ' || cast(decided_at as varchar) || ', sent '
               || cast(sent_at as varchar) as found
        from contacts where decided_at > sent_at""",
    ),
)
