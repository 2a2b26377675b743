"""Plain rows of one account, read in integers: the quick way past the tables of a ledger.

Only rows that are clean beyond doubt are read here; :class:`UnusualError` says "ask the ledger",
which then accepts them or lists what is wrong. That is the case for

* rows that are not dicts, names of columns or tables beyond the known ones, more than one account,
* values of other types than str, int, float, Decimal, bool, date and datetime with a ``ZoneInfo`` or
  a fixed offset (no NumPy, no pandas), values of two types in one column, ids beyond ASCII,
* any value that the ledger would refuse, due dates before the date of issue, and days outside
  2000 to 2036.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import NoneType
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from collectopt.schema import tables as t
from collectopt.schema.clock import Clock, UnusualError, micros
from collectopt.schema.times import DAY_US

NOTHING = -1
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_CENT = Decimal("0.01")
_EXPONENTS = (0, -1, -2)
_CENT_TOLERANCE, _PART = 1e-6, 1e-12  # as the ledger reads floats
_MOST = 10**13  # cents, and numbers in general
_MINUTE = timedelta(minutes=1)
_ZONE = "UTC"  # of accounts that name none, as of a ledger

Values = list[Any]


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
        self._zones: set[Any] = {UTC}

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
        [row] = _rows(rows, "accounts")
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
        _ids([text for text in (texts["customer_id"], texts["creditor_id"]) if text is not None])
        zone = texts["timezone"]
        clock = self._clock(_ZONE if zone is None else zone)
        claims, numbers = self._claims(_rows(rows, "invoices"), account, clock)
        contacts, places = self._contacts(_rows(rows, "contacts"), account, clock, consent)
        return Account(
            account_id=account,
            customer_type=_among([row["customer_type"]], _TYPES)[0],
            country=country,
            texts=texts,
            consent=consent,
            since=_days([row.get("customer_since")])[0],
            score=_numbers([row.get("credit_score")])[0],
            worth=_numbers([row.get("lifetime_value")])[0],
            clock=clock,
            claims=claims,
            payments=self._payments(_rows(rows, "payments"), account, clock, (claims, numbers)),
            contacts=contacts,
            responses=self._responses(_rows(rows, "responses"), account, clock, places),
            holds=self._holds(_rows(rows, "holds"), account, clock, numbers),
        )

    def _claims(
        self, rows: Sequence[dict[str, Any]], account: str, clock: Clock
    ) -> tuple[list[Claim], dict[str, int]]:
        if not rows:
            raise UnusualError
        _check("invoices", rows, account)
        ids = _unique(rows, "invoice_id")
        issued, due = (_required(_days(_of(rows, name))) for name in ("issued_on", "due_on"))
        cents = _required(_cents(_of(rows, "amount")))
        kinds = ["invoice" if kind is None else kind for kind in _of(rows, "kind")]
        _among(kinds, _KINDS)
        _texts(_of(rows, "product"))
        if any(row["currency"] != self.currency for row in rows):
            raise UnusualError
        order = sorted(range(len(ids)), key=ids.__getitem__)
        rank = {
            place: k
            for k, place in enumerate(
                sorted(range(len(ids)), key=lambda i: (due[i], issued[i], ids[i]))
            )
        }
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
        self,
        rows: Sequence[dict[str, Any]],
        account: str,
        clock: Clock,
        invoices: tuple[list[Claim], dict[str, int]],
    ) -> list[Payment]:
        if not rows:
            return []
        claims, numbers = invoices
        _check("payments", rows, account)
        ids = _unique(rows, "payment_id")
        known = _required(self._instants(_of(rows, "paid_at"), clock))
        cents = _required(_cents(_of(rows, "amount")))
        invoice = _places(_of(rows, "invoice_id"), numbers)
        _texts(_of(rows, "method"))
        days = list(map(clock.day, known))
        if any(
            number != NOTHING and day < claims[number].issued
            for number, day in zip(invoice, days, strict=True)
        ):
            raise UnusualError
        return sorted(map(Payment._make, zip(known, ids, cents, invoice, days, strict=True)))

    def _contacts(
        self,
        rows: Sequence[dict[str, Any]],
        account: str,
        clock: Clock,
        consent: Mapping[str, Any],
    ) -> tuple[list[Contact], dict[str, int]]:
        if not rows:
            return [], {}
        _check("contacts", rows, account)
        ids = _unique(rows, "contact_id")
        sent = _required(self._instants(_of(rows, "sent_at"), clock))
        decided = self._instants(_of(rows, "decided_at"), clock)
        known = [s if d is None else d for s, d in zip(sent, decided, strict=True)]
        if any(d > s for d, s in zip(known, sent, strict=True)):
            raise UnusualError
        channels = _of(rows, "channel")
        if not _CHANNELS.issuperset(channels):
            _among(channels, _CHANNELS | {name.removesuffix("_ok") for name in consent})
        tones = _among(_of(rows, "tone"), _TONES)
        for name in ("offer", "template", "policy"):
            _texts(_of(rows, name))
        _ids([text for text in _of(rows, "decision_id") if text is not None])
        if any(p is not None and not 0.0 < p <= 1.0 for p in _numbers(_of(rows, "propensity"))):
            raise UnusualError
        if any(c is not None and c < 0.0 for c in _numbers(_of(rows, "cost"))):
            raise UnusualError
        days = map(clock.day, sent)
        made = sorted(
            map(Contact._make, zip(sent, ids, known, days, channels, tones, strict=True)),
            key=_when,
        )
        return made, {contact.contact_id: place for place, contact in enumerate(made)}

    def _responses(
        self, rows: Sequence[dict[str, Any]], account: str, clock: Clock, places: dict[str, int]
    ) -> list[Response]:
        if not rows:
            return []
        _check("responses", rows, account)
        known = _required(self._instants(_of(rows, "at"), clock))
        kinds = _among(_of(rows, "kind"), _SAID)
        contact = _places(_of(rows, "contact_id"), places)
        cents, due = _cents(_of(rows, "amount")), _days(_of(rows, "due_on"))
        days = map(clock.day, known)
        return list(
            map(Response._make, zip(known, kinds, days, contact, cents, due, strict=True))
        )

    def _holds(
        self, rows: Sequence[dict[str, Any]], account: str, clock: Clock, numbers: dict[str, int]
    ) -> list[Hold]:
        if not rows:
            return []
        _check("holds", rows, account)
        kinds = _among(_of(rows, "kind"), _HELD)
        begins = _required(_days(_of(rows, "from_on")))
        ends, midnight, made = _days(_of(rows, "to_on")), clock.midnight, []
        invoices = _places(_of(rows, "invoice_id"), numbers)
        for kind, day, end, invoice in zip(kinds, begins, ends, invoices, strict=True):
            if end is not None and end < day:
                raise UnusualError
            until = None if end is None else midnight(end)
            made.append(Hold(midnight(day + 1) - 1, kind, midnight(day), day, until, invoice))
        return made

    def _clock(self, zone: str) -> Clock:
        clock = self._clocks.get(zone)
        if clock is None:
            clock = self._clocks[zone] = Clock(zone)
        return clock

    def _instants(self, values: Values, clock: Clock) -> list[Any]:
        """Microseconds; a date alone stands for the end of the local day."""
        kinds = set(map(type, values)) - {NoneType}
        if kinds <= {datetime}:
            return [None if value is None else self._micros(value) for value in values]
        if kinds == {date}:
            return [
                None if value is None else clock.midnight(value.toordinal() - _EPOCH_DAY + 1) - 1
                for value in values
            ]
        if kinds != {str} or any(value is not None and len(value) <= 10 for value in values):  # noqa: PLR2004
            raise UnusualError(kinds)
        parsed = [None if value is None else datetime.fromisoformat(value.strip()) for value in values]
        return [None if value is None else self._micros(value) for value in parsed]

    def _micros(self, moment: datetime) -> int:
        zone = moment.tzinfo
        if zone not in self._zones:
            fixed = type(zone) is timezone and not zone.utcoffset(None) % _MINUTE
            if not fixed and not (type(zone) is ZoneInfo and zone.key):
                raise UnusualError(zone)
            if len(self._zones) < 1_000:  # noqa: PLR2004
                self._zones.add(zone)
        return micros(moment)


def _when(contact: Contact) -> tuple[int, str]:
    return contact.sent, contact.contact_id


def _rows(rows: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    """Rows of a table; none where it is missing."""
    found = rows.get(name)
    if found is None:
        return ()
    if type(found) not in {list, tuple} or not all(type(row) is dict for row in found):
        raise UnusualError(name)
    return found  # type: ignore[no-any-return]


def _check(name: str, rows: Sequence[dict[str, Any]], account: str) -> None:
    """Only known columns, and of this account alone."""
    known = _KNOWN[name]
    for row in rows:
        if not row.keys() <= known or row["account_id"] != account:
            raise UnusualError(name)


def _of(rows: Sequence[dict[str, Any]], column: str) -> Values:
    return [row.get(column) for row in rows]


def _required(values: list[Any]) -> list[Any]:
    if None in values:
        raise UnusualError
    return values


def _among(values: Values, known: frozenset[Any]) -> Values:
    if not known.issuperset(values):
        raise UnusualError(values)
    return values


def _texts(values: Values) -> Values:
    """Texts or null, which Arrow can keep."""
    for value in values:
        if value is not None:
            if type(value) is not str:
                raise UnusualError(value)
            if not value.isascii():
                value.encode()  # a ValueError where it is no Unicode
    return values


def _ids(values: Values) -> Values:
    for value in values:
        if type(value) is not str or not value.isascii() or not value.isprintable():
            raise UnusualError(value)
        if not value.strip():
            raise UnusualError(value)
    return values


def _unique(rows: Sequence[dict[str, Any]], column: str) -> list[str]:
    ids = _ids([row[column] for row in rows])
    if len(set(ids)) < len(ids):
        raise UnusualError(column)
    return ids


def _places(values: Values, known: Mapping[str, int]) -> list[int]:
    return [NOTHING if value is None else known[value] for value in values]


def _days(values: Values) -> list[Any]:
    """Days since 1970."""
    kinds = set(map(type, values)) - {NoneType}
    if kinds == {str}:
        read = date.fromisoformat
        values = [None if value is None else read(value.strip()) for value in values]
    elif not kinds <= {date}:
        raise UnusualError(kinds)
    return [None if value is None else value.toordinal() - _EPOCH_DAY for value in values]


def _cents(values: Values) -> list[Any]:
    kinds = set(map(type, values)) - {NoneType}
    read: Callable[[Any], int]
    if kinds == {Decimal}:
        read = _of_decimal
    elif kinds <= {int, float}:
        read = _of_number
    else:
        raise UnusualError(kinds)
    return [None if value is None else read(value) for value in values]


def _of_decimal(value: Decimal) -> int:
    if not value.same_quantum(_CENT) and value.as_tuple().exponent not in _EXPONENTS:
        raise UnusualError(value)
    cents = int(value * 100)
    if not -_MOST < cents < _MOST:
        raise UnusualError(value)
    return cents


def _of_number(value: float) -> int:
    cents = value * 100
    if not -_MOST < cents < _MOST:  # also where it is no number
        raise UnusualError(value)
    whole = round(cents)
    if abs(cents - whole) > max(abs(cents) * _PART, _CENT_TOLERANCE):
        raise UnusualError(value)
    return whole


def _numbers(values: Values) -> list[Any]:
    found: list[float | None] = []
    for value in values:
        if value is None:
            found.append(None)
        elif type(value) in {float, int} and -_MOST < value < _MOST:
            found.append(float(value))
        else:
            raise UnusualError(value)
    return found


__all__ = [
    "DAY_US", "NOTHING", "Account", "Claim", "Contact", "Hold", "Payment", "Reader", "Response",
    "UnusualError",
]  # fmt: skip
