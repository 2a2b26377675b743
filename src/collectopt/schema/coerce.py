"""Bring one column to its canonical type, or say which rows cannot be read and why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import Fault
from collectopt.schema.tables import Column, Type
from collectopt.schema.times import INSTANT

Result = tuple[pa.Array, list[Fault]]
_CENT = pa.scalar(Decimal("0.01"), pa.decimal128(3, 2))
_CENT_TOLERANCE = 1e-6  # of a cent: floats carry cents exactly enough below 10^9


def coerce(table: str, column: Column, values: pa.ChunkedArray) -> Result:
    """Cast a column to its canonical type.

    Parameters
    ----------
    table : str
        Name of the table, for the faults.
    column : Column
        What the column should hold.
    values : pyarrow.ChunkedArray
        What the caller gave.

    Returns
    -------
    array : pyarrow.Array
        Canonical values; dates in an instant column stay ``date32`` (the caller knows the time
        zone); null where a value could not be read.
    faults : list of Fault
    """
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_floating(array.type):
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    if pa.types.is_null(array.type) or array.null_count == len(array):
        result: pa.Array = pa.nulls(len(array), column.type.arrow)
        faults: list[Fault] = []
    else:
        result, faults = _READERS[column.type](table, column, array)
    if column.required and array.null_count:
        missing = pc.is_null(array)
        faults.append(
            fault(table, column.name, missing, "a value in every row", "null, NaN or NaT")
        )
    if column.values:
        known = pc.is_in(result, value_set=pa.array(column.values))
        bad = pc.and_(pc.is_valid(result), pc.invert(known))
        if pc.any(bad).as_py():
            expected = "one of " + ", ".join(column.values)
            faults.append(fault(table, column.name, bad, expected, example(result, bad)))
    return result, faults


def fault(  # noqa: PLR0917 - a record in the making
    table: str, column: str, bad: pa.Array, expected: str, found: str, hint: str = ""
) -> Fault:
    """Make a fault from a mask of rows."""
    rows = np.flatnonzero(pc.fill_null(bad, fill_value=False).to_numpy(zero_copy_only=False))
    return Fault(table, column, expected, found, tuple(map(int, rows[:5])), len(rows), hint)


def example(values: pa.Array, bad: pa.Array) -> str:
    """Show the first value at fault."""
    first = int(np.flatnonzero(pc.fill_null(bad, fill_value=False).to_numpy(False))[0])
    value = values[first].as_py()
    return str(value) if isinstance(value, date | datetime) else repr(value)


def _mistyped(table: str, column: Column, array: pa.Array, expected: str, hint: str) -> Result:
    whole = pc.is_valid(array)
    found = f"{example(array, whole)} of type {array.type}"
    return pa.nulls(len(array), column.type.arrow), [
        fault(table, column.name, whole, expected, found, hint)
    ]


def _id(table: str, column: Column, array: pa.Array) -> Result:
    if pa.types.is_string(array.type) or pa.types.is_integer(array.type):
        text = pc.cast(array, pa.string())
        empty = pc.equal(pc.utf8_trim_whitespace(text), "")
        if pc.any(empty).as_py():
            return text, [fault(table, column.name, empty, "an id", "an empty text")]
        return text, []
    return _mistyped(
        table,
        column,
        array,
        "ids as text",
        "Read ids as text (dtype=str): numbers lose leading zeros and nulls turn them into floats.",
    )


def _text(table: str, column: Column, array: pa.Array) -> Result:
    if pa.types.is_string(array.type):
        return array, []
    return _mistyped(table, column, array, "text", "Convert the column to text.")


def _date(table: str, column: Column, array: pa.Array) -> Result:
    kind = array.type
    if pa.types.is_date(kind):
        return pc.cast(array, pa.date32()), []
    if pa.types.is_timestamp(kind) and kind.tz is None:
        days = pc.cast(pc.floor_temporal(array, unit="day"), pa.date32())
        timed = pc.not_equal(pc.floor_temporal(array, unit="day"), array)
        if pc.any(timed).as_py():
            hint = "Give local dates; times of day do not belong here."
            found = example(array, timed)
            return days, [fault(table, column.name, timed, "a date", found, hint)]
        return days, []
    if pa.types.is_string(kind):
        return _parsed(table, column, array, date.fromisoformat, pa.date32(), "a date, YYYY-MM-DD")
    hint = "Give local dates (date32, datetime.date, naive midnights or YYYY-MM-DD)."
    return _mistyped(table, column, array, "a date", hint)


def _instant(table: str, column: Column, array: pa.Array) -> Result:
    kind = array.type
    if pa.types.is_date(kind):
        return pc.cast(array, pa.date32()), []
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pc.cast(array, INSTANT, safe=False), []
    if pa.types.is_timestamp(kind):
        hint = (
            "Say which clock it is, for example df[column].dt.tz_localize('Europe/Berlin'), "
            "or give plain dates where only the day is known."
        )
        expected = "time stamps with a time zone"
        bad = pc.is_valid(array)
        found = f"naive time stamps such as {example(array, bad)}"
        return pa.nulls(len(array), INSTANT), [
            fault(table, column.name, bad, expected, found, hint)
        ]
    if pa.types.is_string(kind):
        sample = next(v for v in array.to_pylist() if v is not None)
        if len(sample) == len("2026-11-21"):
            return _parsed(
                table, column, array, date.fromisoformat, pa.date32(), "a date, YYYY-MM-DD"
            )
        return _parsed(
            table, column, array, _aware, INSTANT, "an ISO 8601 time with its UTC offset"
        )
    return _mistyped(
        table, column, array, "time stamps with a time zone", "Give timestamp[us, tz=UTC]."
    )


def _aware(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(text)
    return moment


def _parsed(  # noqa: PLR0917
    table: str,
    column: Column,
    array: pa.Array,
    read: Callable[[str], object],
    kind: pa.DataType,
    expected: str,
) -> Result:
    values: list[object] = []
    bad: list[bool] = []
    for text in array.to_pylist():
        value = None
        if text is not None:
            try:
                value = read(text.strip())
            except ValueError:
                bad.append(True)
                values.append(None)
                continue
        bad.append(False)
        values.append(value)
    mask = pa.array(bad, pa.bool_())
    result = pa.array(values, kind)
    if not any(bad):
        return result, []
    return result, [fault(table, column.name, mask, expected, example(array, mask))]


def _money(table: str, column: Column, array: pa.Array) -> Result:
    target = column.type.arrow
    hint = "Round amounts to cents before loading."
    if pa.types.is_decimal(array.type):
        try:
            return pc.cast(array, target), []
        except pa.ArrowInvalid:
            rounded = pc.cast(pc.round(array, 2), target)
            bad = pc.not_equal(pc.cast(rounded, array.type, safe=False), array)
            found = example(array, bad)
            return rounded, [fault(table, column.name, bad, "cents at most", found, hint)]
    if pa.types.is_integer(array.type):
        return pc.cast(pc.cast(array, pa.decimal128(38, 2)), target), []
    if not pa.types.is_floating(array.type):
        return _mistyped(table, column, array, "an amount", "Give numbers or decimals.")
    wide = pc.cast(array, pa.float64())
    cents = pc.multiply(wide, 100.0)
    whole = pc.round(cents)
    limit = pc.max_element_wise(pc.multiply(pc.abs(cents), 1e-12), _CENT_TOLERANCE)
    bad = pc.or_(
        pc.invert(pc.is_finite(wide)), pc.greater(pc.abs(pc.subtract(cents, whole)), limit)
    )
    faults: list[Fault] = []
    if pc.any(bad).as_py():
        expected = "a finite amount, exact to the cent"
        faults = [fault(table, column.name, bad, expected, example(array, bad), hint)]
        whole = pc.if_else(bad, pa.scalar(None, pa.float64()), whole)
    # Through integers: a float is cast to decimal digit by digit, which shows its error.
    exact = pc.cast(pc.cast(whole, pa.int64()), pa.decimal128(20, 0))
    return pc.cast(pc.multiply(exact, _CENT), target), faults


def _number(table: str, column: Column, array: pa.Array) -> Result:
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        return _mistyped(table, column, array, "a number", "Give a numeric column.")
    values = pc.cast(array, pa.float64(), safe=False)
    bad = pc.and_(pc.is_valid(values), pc.invert(pc.is_finite(values)))
    if pc.any(bad).as_py():
        found = example(values, bad)
        return values, [fault(table, column.name, bad, "a finite number", found)]
    return values, []


def _flag(table: str, column: Column, array: pa.Array) -> Result:
    if pa.types.is_boolean(array.type):
        return array, []
    return _mistyped(table, column, array, "true or false", "Give a boolean column.")


_READERS: dict[Type, Callable[[str, Column, pa.Array], Result]] = {
    Type.ID: _id,
    Type.TEXT: _text,
    Type.DATE: _date,
    Type.INSTANT: _instant,
    Type.MONEY: _money,
    Type.NUMBER: _number,
    Type.FLAG: _flag,
}
