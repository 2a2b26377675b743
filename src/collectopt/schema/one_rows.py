"""Plain rows of one account, read in integers: the quick way past the tables of a ledger.

Only rows that are clean beyond doubt are read here; :class:`UnusualError` says "ask the ledger",
which then accepts them or lists what is wrong. That is the case for

* rows that are not dicts, names of columns or tables beyond the known ones, more than one account,
* values of other types than str, int, float, Decimal, bool, date and datetime with a ``ZoneInfo``
  or a fixed offset (no NumPy, no pandas), two types in one column, ids beyond ASCII,
* holds that give a reason,
* any value that the ledger would refuse, due dates before the date of issue, and days outside
  2000 to 2036.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from types import NoneType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from collectopt.schema import tables as t
from collectopt.schema.clock import EPOCH, MICROSECOND, Clock, UnusualError

NOTHING = -1
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DIGITS = 14  # of an amount written out, with sign and point
_CENT_TOLERANCE, _PART = 1e-6, 1e-12  # as the ledger reads floats
_MOST = 10**13  # cents, and numbers in general
_NULL, _TEXT = frozenset({NoneType}), frozenset({NoneType, str})
_LISTS, _DICT = frozenset({list, tuple}), frozenset({dict})
_ZONES = 1_000  # kinds of zones that are remembered
_MINUTE = timedelta(minutes=1)
_ZONE = "UTC"  # of accounts that name none, as of a ledger

Values = Sequence[Any]


class Claim(NamedTuple):
    """An invoice above 0 or, below 0, a credit note; days since 1970, microseconds, cents."""

    number: int  # place among the account's invoices by invoice_id
    rank: int  # place by due date, date of issue and invoice_id
    issued: int
    due: int
    cents: int
    kind: str
    known: int
    due_at: int


class Payment(NamedTuple):
    """Money that came in; below 0: returned."""

    known: int
    payment_id: str
    cents: int
    invoice: int  # number, or NOTHING
    day: int


class Contact(NamedTuple):
    """A contact, or a decision to wait."""

    sent: int
    contact_id: str
    known: int
    day: int
    channel: str
    tone: str | None


class Response(NamedTuple):
    """What the customer did or said."""

    known: int
    kind: str
    day: int
    contact: int  # place in the account's contacts, or NOTHING
    cents: int | None
    due: int | None


class Hold(NamedTuple):
    """A hold; `end` is when it ends as written, None = until further notice."""

    known: int
    kind: str
    begin: int
    day: int
    end: int | None
    invoice: int


@dataclass(frozen=True)
class Account:
    """All rows of one account, whenever they were known.

    Attributes
    ----------
    account_id, customer_type, country : str
    texts : mapping of str to (str or None)
        The other columns of text.
    consent : mapping of str to (bool or None)
        By column, ``email_ok`` and so on, as far as there are such columns.
    since : int or None
        Day since which somebody is a customer.
    score, worth : float or None
        Credit score, lifetime value.
    clock : Clock
    claims : list of Claim
        By number; credit notes included.
    payments : list of Payment
        By time and payment_id.
    contacts : list of Contact
        By time and contact_id.
    responses : list of Response
    holds : list of Hold
    """

    account_id: str
    customer_type: str
    country: str
    texts: Mapping[str, str | None]
    consent: Mapping[str, bool | None]
    since: int | None
    score: float | None
    worth: float | None
    clock: Clock
    claims: list[Claim]
    payments: list[Payment]
    contacts: list[Contact]
    responses: list[Response]
    holds: list[Hold]


_TEXTS = ("region", "language", "timezone", "customer_id", "creditor_id")
_KNOWN = {spec.name: frozenset(column.name for column in spec.columns) for spec in t.TABLES}
_TYPES, _KINDS = frozenset(t.CUSTOMER_TYPES), frozenset(t.INVOICE_KINDS)
_SAID, _HELD = frozenset(t.RESPONSE_KINDS), frozenset(t.HOLD_KINDS)
_CHANNELS, _TONES = frozenset(t.CHANNELS), frozenset({None, *t.TONES})


class Reader:
    """Reads the rows of one account after another; what they share is laid out once.

    Parameters
    ----------
    currency : str
        The only one that amounts may be in.
    """

    def __init__(self, currency: str) -> None:
        self.currency = currency
        self._clocks: dict[str, Clock] = {}
        self._epochs: dict[Any, datetime] = {}

    def read(self, rows: Mapping[str, Any]) -> Account:
        """Read the six tables of one account.

        Raises
        ------
        UnusualError
            Something is not clean beyond doubt; nothing is said about right or wrong.
        """
        try:
            return self._read(rows)
        except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
            raise UnusualError from error

    def _read(self, rows: Mapping[str, Any]) -> Account:
        if not rows.keys() <= _KNOWN.keys():
            raise UnusualError(set(rows))
        accounts = rows["accounts"]
        if type(accounts) not in _LISTS or len(accounts) != 1 or type(accounts[0]) is not dict:
            raise UnusualError(accounts)
        row = accounts[0]
        consent = {name: row[name] for name in row.keys() - _KNOWN["accounts"]}
        if not all(
            name.endswith("_ok") and (given is None or given is True or given is False)
            for name, given in consent.items()
        ):
            raise UnusualError(consent)
        account = _ids([row["account_id"]])[0]
        country = _required(_texts([row["country"]]))[0]
        texts = {name: row.get(name) for name in _TEXTS}
        _texts(list(texts.values()))
        _ids([texts[name] for name in ("customer_id", "creditor_id") if texts[name] is not None])
        zone = texts["timezone"]
        clock = self._clock(_ZONE if zone is None else zone)
        claims, numbers = self._claims(rows.get("invoices"), account, clock)
        contacts, places = self._contacts(rows.get("contacts"), account, clock, consent)
        return Account(
            account_id=account,
            customer_type=_among([row["customer_type"]], _TYPES)[0],
            country=country,
            texts=texts,
            consent=consent,
            since=_days([row.get("customer_since")])[0],
            score=_number(row.get("credit_score")),
            worth=_number(row.get("lifetime_value")),
            clock=clock,
            claims=claims,
            payments=self._payments(rows.get("payments"), account, clock, (claims, numbers)),
            contacts=contacts,
            responses=self._responses(rows.get("responses"), account, clock, places),
            holds=self._holds(rows.get("holds"), account, clock, numbers),
        )

    def _claims(self, rows: Any, account: str, clock: Clock) -> tuple[list[Claim], dict[str, int]]:
        of = _columns("invoices", rows, account)
        if of is None:
            raise UnusualError
        ids = _unique(of("invoice_id"))
        issued, due = _required(_days(of("issued_on"))), _required(_days(of("due_on")))
        cents = _required(_cents(of("amount")))
        kinds = ["invoice" if kind is None else kind for kind in of("kind")]
        _among(kinds, _KINDS)
        _texts(of("product"))
        if set(of("currency")) != {self.currency}:
            raise UnusualError
        places = range(len(ids))
        order = sorted(places, key=ids.__getitem__)
        ranked = sorted(zip(due, issued, ids, places, strict=True))
        rank = {place: k for k, (*_, place) in enumerate(ranked)}
        midnight = clock.midnight
        claims = []
        for number, i in enumerate(order):
            if (cents[i] < 0) != (kinds[i] == "credit_note") or due[i] < issued[i]:
                raise UnusualError
            known, due_at = midnight(issued[i] + 1) - 1, midnight(due[i] + 1)
            claims.append(
                Claim(number, rank[i], issued[i], due[i], cents[i], kinds[i], known, due_at)
            )
        return claims, {ids[i]: number for number, i in enumerate(order)}

    def _payments(
        self, rows: Any, account: str, clock: Clock, invoices: tuple[list[Claim], dict[str, int]]
    ) -> list[Payment]:
        of = _columns("payments", rows, account)
        if of is None:
            return []
        claims, numbers = invoices
        ids = _unique(of("payment_id"))
        known = _required(self._instants(of("paid_at"), clock))
        cents = _required(_cents(of("amount")))
        invoice = _places(of("invoice_id"), numbers)
        _texts(of("method"))
        days = clock.days(known)
        for number, day in zip(invoice, days, strict=True):
            if number != NOTHING and day < claims[number].issued:
                raise UnusualError
        return sorted(map(Payment._make, zip(known, ids, cents, invoice, days, strict=True)))

    def _contacts(
        self, rows: Any, account: str, clock: Clock, consent: Mapping[str, Any]
    ) -> tuple[list[Contact], dict[str, int]]:
        of = _columns("contacts", rows, account)
        if of is None:
            return [], {}
        ids = _unique(of("contact_id"))
        sent = known = _required(self._instants(of("sent_at"), clock))
        decided = self._instants(of("decided_at"), clock)
        if decided.count(None) < len(decided):
            known = [s if d is None else d for s, d in zip(sent, decided, strict=True)]
            if any(map(int.__gt__, known, sent)):
                raise UnusualError
        channels = of("channel")
        if not _CHANNELS.issuperset(channels):
            _among(channels, _CHANNELS | {name.removesuffix("_ok") for name in consent})
        tones = _among(of("tone"), _TONES)
        _texts([*of("offer"), *of("template"), *of("policy")])
        _ids([text for text in of("decision_id") if text is not None])
        chances, costs = _numbers(of("propensity")), _numbers(of("cost"))
        if chances and not 0.0 < min(chances) <= max(chances) <= 1.0:
            raise UnusualError(chances)
        if costs and min(costs) < 0.0:
            raise UnusualError(costs)
        days = clock.days(sent)
        made = sorted(map(Contact._make, zip(sent, ids, known, days, channels, tones, strict=True)))
        return made, {contact.contact_id: place for place, contact in enumerate(made)}

    def _responses(
        self, rows: Any, account: str, clock: Clock, places: dict[str, int]
    ) -> list[Response]:
        of = _columns("responses", rows, account)
        if of is None:
            return []
        known = _required(self._instants(of("at"), clock))
        kinds = _among(of("kind"), _SAID)
        contact = _places(of("contact_id"), places)
        cents, due, days = _cents(of("amount")), _days(of("due_on")), clock.days(known)
        return list(map(Response._make, zip(known, kinds, days, contact, cents, due, strict=True)))

    def _holds(self, rows: Any, account: str, clock: Clock, numbers: dict[str, int]) -> list[Hold]:
        of = _columns("holds", rows, account)
        if of is None:
            return []
        if any(reason is not None for reason in of("reason")):  # the ledger puts it into words
            raise UnusualError
        kinds, begins = _among(of("kind"), _HELD), _required(_days(of("from_on")))
        ends, midnight, made = _days(of("to_on")), clock.midnight, []
        invoices = _places(of("invoice_id"), numbers)
        for kind, day, end, invoice in zip(kinds, begins, ends, invoices, strict=True):
            if end is not None and end < day:
                raise UnusualError
            # beyond the years of the clock: after any time that is decided for
            until = None if end is None or end >= clock.beyond else midnight(end)
            made.append(Hold(midnight(day + 1) - 1, kind, midnight(day), day, until, invoice))
        return made

    def _clock(self, zone: str) -> Clock:
        clock = self._clocks.get(zone)
        if clock is None:
            clock = self._clocks[zone] = Clock(zone)
        return clock

    def _instants(self, values: Values, clock: Clock) -> list[Any]:
        """Microseconds; a date alone stands for the end of the local day."""
        kinds = set(map(type, values)) - _NULL
        if kinds == {date}:
            return [
                None if value is None else clock.midnight(value.toordinal() - _EPOCH_DAY + 1) - 1
                for value in values
            ]
        if kinds == {str}:
            if any(value is not None and len(value) <= len("2026-11-21") for value in values):
                raise UnusualError(values)
            read = datetime.fromisoformat
            values = [None if value is None else read(value.strip()) for value in values]
        elif not kinds <= {datetime}:
            raise UnusualError(kinds)
        zones = {value.tzinfo for value in values if value is not None}
        epochs = [self._epochs.get(zone) or self._admitted(zone) for zone in zones]
        epoch = epochs[0] if len(epochs) == 1 else EPOCH
        return [None if value is None else (value - epoch) // MICROSECOND for value in values]

    def _admitted(self, zone: Any) -> datetime:
        """Give the start of 1970 to subtract from times of this zone.

        In one and the same zone Python subtracts wall clocks, which is quick and right where the
        clock never changes.
        """
        fixed = type(zone) is timezone and not zone.utcoffset(None) % _MINUTE
        if not fixed and not (type(zone) is ZoneInfo and zone.key):
            raise UnusualError(zone)
        epoch = EPOCH.astimezone(zone) if fixed or zone.key == "UTC" else EPOCH
        if len(self._epochs) < _ZONES:
            self._epochs[zone] = epoch
        return epoch


def _columns(name: str, rows: Any, account: str) -> Callable[[str], Values] | None:
    """Columns of a table by name, where it has only known ones and is of this account alone.

    None: it has no rows.
    """
    if rows is None:
        return None
    if type(rows) not in _LISTS:
        raise UnusualError(name)
    if not rows:
        return None
    if set(map(type, rows)) != _DICT:
        raise UnusualError(name)
    names, count = list(rows[0]), len(rows)
    if all(list(row) == names for row in rows):
        found = dict(zip(names, zip(*map(dict.values, rows), strict=True), strict=True))
    else:
        found = {key: tuple(row.get(key) for row in rows) for row in rows for key in row}
    if not found.keys() <= _KNOWN[name] or set(found["account_id"]) != {account}:
        raise UnusualError(name)
    nothing = (None,) * count

    def of(column: str) -> Values:
        return found.get(column, nothing)

    return of


def _required(values: Values) -> Any:
    if None in values:
        raise UnusualError
    return values


def _among(values: Values, known: frozenset[Any]) -> Values:
    if not known.issuperset(values):
        raise UnusualError(values)
    return values


def _texts(values: Values) -> Values:
    """Texts or null, which Arrow can keep."""
    if not set(map(type, values)) <= _TEXT:
        raise UnusualError(values)
    together = "".join(filter(None, values))
    if not together.isascii():
        together.encode()  # a ValueError where it is no Unicode
    return values


def _ids(values: Values) -> Values:
    """Texts that are neither null nor blank."""
    together = "".join(values)  # a TypeError where they are no texts
    if not (together.isascii() and together.isprintable() and all(map(str.strip, values))):
        raise UnusualError(values)
    return values


def _unique(ids: Values) -> Values:
    if len(set(_ids(ids))) < len(ids):
        raise UnusualError(ids)
    return ids


def _places(values: Values, known: Mapping[str, int]) -> list[int]:
    return [NOTHING if value is None else known[value] for value in values]


def _days(values: Values) -> list[Any]:
    """Days since 1970."""
    kinds = set(map(type, values)) - _NULL
    if kinds == {str}:
        read = date.fromisoformat
        values = [None if value is None else read(value.strip()) for value in values]
    elif not kinds <= {date}:
        raise UnusualError(kinds)
    return [None if value is None else value.toordinal() - _EPOCH_DAY for value in values]


def _cents(values: Values) -> list[Any]:
    kinds = set(map(type, values)) - _NULL
    read: Callable[[Any], int]
    if kinds == {Decimal}:
        read = _of_decimal
    elif kinds <= {int, float}:
        read = _of_number
    else:
        raise UnusualError(kinds)
    return [None if value is None else read(value) for value in values]


def _of_decimal(value: Decimal) -> int:
    text = str(value)
    if text[-3:-2] != "." or len(text) > _DIGITS:
        return _of_odd_decimal(value)
    return int(text[:-3] + text[-2:])


def _of_odd_decimal(value: Decimal) -> int:
    if value.as_tuple().exponent not in {0, -1, -2} or not -_MOST < value < _MOST:
        raise UnusualError(value)
    return int(value * 100)


def _of_number(value: float) -> int:
    cents = value * 100
    if not -_MOST < cents < _MOST:  # also where it is no number
        raise UnusualError(value)
    whole = round(cents)
    if abs(cents - whole) > max(abs(cents) * _PART, _CENT_TOLERANCE):
        raise UnusualError(value)
    return whole


def _numbers(values: Values) -> list[float]:
    """Numbers whose sum is finite; null is left out."""
    known = [value for value in values if value is not None]
    if not set(map(type, known)) <= {float, int}:
        raise UnusualError(known)
    if not -_MOST < sum(known) < _MOST:  # also where one is nan
        raise UnusualError(known)
    return known


def _number(value: Any) -> float | None:
    known = _numbers([value])
    return float(known[0]) if known else None
