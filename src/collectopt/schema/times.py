"""Instants, local days and the rule for what is known when.

Instants are UTC with microseconds. A row that has only a date is known from the next local
midnight on: its ``known_at`` is the last microsecond of that local day, so that one rule,
``known_at < as_of``, holds for every table. Arrow knows clock changes up to the end of 2037.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.exceptions import InputError

INSTANT = pa.timestamp("us", tz="UTC")
DAY_US = 86_400_000_000

AsOf = str | date | datetime | np.datetime64


def is_timezone(name: str) -> bool:
    """Say whether `name` is an IANA time zone that this machine knows."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def to_instant(as_of: AsOf, timezone: str = "UTC") -> np.datetime64:
    """Turn what a caller says for "as of" into an instant.

    Parameters
    ----------
    as_of : str, date, datetime or numpy.datetime64
        A bare date means local midnight of `timezone`; a time needs a UTC offset.
    timezone : str
        IANA name, used for bare dates only.

    Returns
    -------
    numpy.datetime64
        UTC, microseconds, without a zone.

    Raises
    ------
    InputError
        `as_of` is no time, or is a time of day without a UTC offset.

    Examples
    --------
    >>> print(to_instant("2026-11-21T06:00+01:00"))
    2026-11-21T05:00:00.000000
    >>> print(to_instant("2026-07-01", "Europe/Berlin"))
    2026-06-30T22:00:00.000000
    """
    moment = _to_datetime(as_of, timezone)
    if moment.tzinfo is None:
        raise InputError.of(
            "as_of",
            None,
            expected="a date, or a time with its UTC offset",
            found=f"{as_of!s} without an offset",
            hint='Write for example "2026-11-21T06:00+01:00".',
        )
    naive = moment.astimezone(ZoneInfo("UTC")).replace(tzinfo=None)
    return np.datetime64(naive, "us")


def _to_datetime(as_of: AsOf, timezone: str) -> datetime:
    if isinstance(as_of, np.datetime64) and not np.isnat(as_of):
        return as_of.astype("datetime64[us]").item().replace(tzinfo=ZoneInfo("UTC"))
    if isinstance(as_of, str):
        text = as_of.strip()
        try:
            value: date | datetime = (
                date.fromisoformat(text) if len(text) == len("2026-11-21") else _instant(text)
            )
        except ValueError:
            raise InputError.of(
                "as_of",
                None,
                expected="an ISO 8601 date or time",
                found=repr(as_of),
                hint='Write for example "2026-11-21" or "2026-11-21T06:00+01:00".',
            ) from None
        as_of = value
    if isinstance(as_of, datetime):
        if as_of != as_of:  # noqa: PLR0124 - NaT is the one datetime that differs from itself
            raise InputError.of("as_of", None, expected="a time", found="NaT")
        return as_of
    if isinstance(as_of, date):
        return datetime.combine(as_of, time(), ZoneInfo(timezone))
    raise InputError.of(
        "as_of",
        None,
        expected="a str, date or aware datetime",
        found=f"{as_of} ({type(as_of).__name__})",
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def start_of_local_day(days: pa.Array, zones: pa.Array) -> pa.Array:
    """Instants at which local days begin.

    Where the clock skips midnight, the first instant that exists.

    Parameters
    ----------
    days : pyarrow.Array of date32, shape (n,)
    zones : pyarrow.Array of string, shape (n,)
        IANA names.

    Returns
    -------
    pyarrow.Array of timestamp[us, UTC], shape (n,)
    """

    def convert(part: pa.Array, zone: str) -> pa.Array:
        local = pc.cast(part, pa.timestamp("us"))
        aware = pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="latest")
        return pc.cast(aware, INSTANT)

    return _by_zone(days, zones, INSTANT, convert)


def end_of_local_day(days: pa.Array, zones: pa.Array) -> pa.Array:
    """Last microseconds of local days: the ``known_at`` of rows that have only a date.

    Parameters and result as in :func:`start_of_local_day`.
    """
    micro = pa.scalar(1, pa.duration("us"))
    return pc.subtract(start_of_local_day(next_day(days), zones), micro)


def next_day(days: pa.Array) -> pa.Array:
    """Add one day to each date; shape (n,)."""
    return pc.cast(pc.add(pc.cast(days, pa.int32()), pa.scalar(1, pa.int32())), pa.date32())


def local_time(instants: pa.Array, zones: pa.Array) -> pa.Array:
    """Wall clock of instants.

    Parameters
    ----------
    instants : pyarrow.Array of timestamp[us, UTC], shape (n,)
    zones : pyarrow.Array of string, shape (n,)

    Returns
    -------
    pyarrow.Array of timestamp[us], shape (n,)
    """
    wall = pa.timestamp("us")
    return _by_zone(
        instants,
        zones,
        wall,
        lambda part, zone: pc.local_timestamp(pc.cast(part, pa.timestamp("us", tz=zone))),
    )


def _by_zone(
    values: pa.Array,
    zones: pa.Array,
    kind: pa.DataType,
    convert: Callable[[pa.Array, str], pa.Array],
) -> pa.Array:
    """Apply `convert` to the rows of each zone; a book has few zones."""
    values, zones = _flat(values), _flat(zones)
    names = pc.unique(zones).to_pylist()
    if not names:
        return pa.array([], kind)
    if len(names) == 1:
        return pc.cast(convert(values, names[0]), kind)
    codes = pc.dictionary_encode(zones).indices.to_numpy(zero_copy_only=False)
    order = np.argsort(codes, kind="stable")
    encoded = pc.dictionary_encode(zones).dictionary.to_pylist()
    parts = [
        convert(values.take(pa.array(np.flatnonzero(codes == code))), zone)
        for code, zone in enumerate(encoded)
    ]
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return pa.concat_arrays([pc.cast(p, kind) for p in parts]).take(pa.array(back))


def _flat(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
