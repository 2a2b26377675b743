"""The six tables of a ledger: columns, types, permitted values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import pyarrow as pa

from collectopt.schema.times import INSTANT


class Type(Enum):
    """What a column holds."""

    ID = "id"
    DATE = "date"
    INSTANT = "instant"
    MONEY = "money"
    NUMBER = "number"
    FLAG = "flag"
    TEXT = "text"

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type that such a column is kept in."""
        return _ARROW[self]


_ARROW = {
    Type.ID: pa.string(),
    Type.DATE: pa.date32(),
    Type.INSTANT: INSTANT,
    Type.MONEY: pa.decimal128(18, 2),
    Type.NUMBER: pa.float64(),
    Type.FLAG: pa.bool_(),
    Type.TEXT: pa.string(),
}


@dataclass(frozen=True)
class Column:
    """One column: its type, whether it is needed, and the values it may take.

    A `sparse` column stands only in the tables of a book that fills it: hashes of others stay.
    """

    name: str
    type: Type
    required: bool = False
    values: tuple[str, ...] = ()
    sparse: bool = False


@dataclass(frozen=True)
class Table:
    """One table: its columns in canonical order; the first one is the key where `keyed`."""

    name: str
    columns: tuple[Column, ...]
    keyed: bool = True
    required: bool = False
    order: tuple[str, ...] = ()

    def __getitem__(self, column: str) -> Column:
        return next(c for c in self.columns if c.name == column)

    @property
    def schema(self) -> pa.Schema:
        """The canonical Arrow schema, optional columns included, sparse ones not."""
        return pa.schema([pa.field(c.name, c.type.arrow) for c in self.columns if not c.sparse])


#: Laws for which there are rules; "none" = house rules alone.
JURISDICTIONS = ("none", "de", "eu", "us_regf", "uk_conc")
CUSTOMER_TYPES = ("consumer", "business")
INVOICE_KINDS = ("invoice", "credit_note", "fee", "interest")
RESPONSE_KINDS = (
    "delivered", "bounced", "opened", "clicked", "answered", "promised", "plan_accepted",
    "plan_broken", "promise_broken", "refused", "disputed", "dispute_resolved", "complained",
    "opted_out", "visited_portal",
)  # fmt: skip
HOLD_KINDS = (
    "dispute", "promise", "payment_plan", "insolvency", "deceased", "breathing_space",
    "vulnerable", "service", "do_not_contact", "agency", "court",
)  # fmt: skip
# Names that a log may use without saying more; a catalogue or a consent column adds others.
CHANNELS = (
    "none", "email", "sms", "phone", "letter", "push", "app", "whatsapp", "messenger", "chat",
    "portal", "voice", "visit", "fax", "agency", "court", "stop",
)  # fmt: skip
# Decisions that send nothing to the customer.
#: How the column `policy` of contacts begins where a person decided, alone or beside a policy.
OVERRIDE = "override"
NO_CONTACT = ("none", "agency", "court", "stop")
TONES = (
    "friendly", "cooperative", "gentle", "soft", "warm", "polite", "neutral", "factual", "firm",
    "formal", "urgent", "serious", "strict", "final",
)  # fmt: skip
CURRENCIES = frozenset(  # active codes of ISO 4217
    """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN
    BWP BYN BZD CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD
    FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY
    KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD
    RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY
    TTD TWD TZS UAH UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW
    ZWG""".split()  # noqa: SIM905
)

ACCOUNTS = Table(
    "accounts",
    (
        Column("account_id", Type.ID, required=True),
        Column("customer_type", Type.TEXT, required=True, values=CUSTOMER_TYPES),
        Column("country", Type.TEXT, required=True),
        Column("region", Type.TEXT),
        Column("language", Type.TEXT),
        Column("timezone", Type.TEXT),
        Column("customer_id", Type.ID),
        Column("creditor_id", Type.ID),
        Column("customer_since", Type.DATE),
        Column("credit_score", Type.NUMBER),
        Column("lifetime_value", Type.NUMBER),
    ),
    required=True,
    order=("account_id",),
)
INVOICES = Table(
    "invoices",
    (
        Column("invoice_id", Type.ID, required=True),
        Column("account_id", Type.ID, required=True),
        Column("issued_on", Type.DATE, required=True),
        Column("due_on", Type.DATE, required=True),
        Column("amount", Type.MONEY, required=True),
        Column("currency", Type.TEXT, required=True),
        Column("kind", Type.TEXT, values=INVOICE_KINDS),
        Column("product", Type.TEXT),
    ),
    required=True,
    order=("invoice_id",),
)
PAYMENTS = Table(
    "payments",
    (
        Column("payment_id", Type.ID, required=True),
        Column("account_id", Type.ID, required=True),
        Column("paid_at", Type.INSTANT, required=True),
        Column("amount", Type.MONEY, required=True),
        Column("invoice_id", Type.ID),
        Column("method", Type.TEXT),
    ),
    order=("payment_id",),
)
CONTACTS = Table(
    "contacts",
    (
        Column("contact_id", Type.ID, required=True),
        Column("account_id", Type.ID, required=True),
        Column("sent_at", Type.INSTANT, required=True),
        Column("decided_at", Type.INSTANT),
        Column("channel", Type.TEXT, required=True),
        Column("tone", Type.TEXT),
        Column("offer", Type.TEXT),
        Column("template", Type.TEXT),
        Column("propensity", Type.NUMBER),
        Column("policy", Type.TEXT),
        Column("cost", Type.NUMBER),
        Column("decision_id", Type.ID),
    ),
    order=("contact_id",),
)
RESPONSES = Table(
    "responses",
    (
        Column("account_id", Type.ID, required=True),
        Column("at", Type.INSTANT, required=True),
        Column("kind", Type.TEXT, required=True, values=RESPONSE_KINDS),
        Column("contact_id", Type.ID),
        Column("amount", Type.MONEY),
        Column("due_on", Type.DATE),
    ),
    keyed=False,
    order=("account_id", "at", "kind", "contact_id", "amount", "due_on"),
)
HOLDS = Table(
    "holds",
    (
        Column("account_id", Type.ID, required=True),
        Column("kind", Type.TEXT, required=True, values=HOLD_KINDS),
        Column("from_on", Type.DATE, required=True),
        Column("to_on", Type.DATE),
        Column("invoice_id", Type.ID),
        Column("reason", Type.TEXT, sparse=True),
    ),
    keyed=False,
    order=("account_id", "from_on", "kind", "invoice_id", "to_on", "reason"),
)
TABLES = (ACCOUNTS, INVOICES, PAYMENTS, CONTACTS, RESPONSES, HOLDS)
