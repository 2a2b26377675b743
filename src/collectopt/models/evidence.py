"""What behaviour tells about the reason of a delay: counts of outcomes, known before as_of.

Each item of ``delays.toml`` is a list of outcomes; an account has so many of each: of its earlier
claims three on time and one later, of its contacts two noticed and five without a reaction. An
item of which nothing is known has no counts and moves nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from collectopt.features import compute
from collectopt.features.matrix import FeatureMatrix
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.sql import query
from collectopt.schema.tables import NO_CONTACT

Float = npt.NDArray[np.float64]
Counts = Mapping[str, Float]
Columns = Mapping[str, Float]

#: Upper ends of the age of the oldest claim past due, days, and days after which a claim is judged.
AGES = (10, 30, 60, 120)
_FEATURES = (
    "days_past_due",
    "part_share",
    "payments_n",
    "returned_n",
    "promises_kept",
    "promises_broken",
    "disputes_n",
    "hold_dispute",
    "claims_n",
    "credit_score",
)
_NOTICED = ("opened", "clicked", "answered", "promised", "plan_accepted", "refused", "disputed",
            "complained")  # fmt: skip
_FIFTHS = 5

# Of claims due 30 days ago or longer: when was all of it settled for the first time? Claims that a
# credit note settled say nothing about paying.
_HISTORY = """
with moves as (
    select invoice, known_at, sum(cents) as cents, bool_or(cash and cents > 0) as cash
    from settlements group by all
), running as (
    select invoice, known_at, cash, sum(cents) over (
        partition by invoice order by known_at) as total
    from moves
), full_at as (
    select c.account, c.invoice, c.due_at, c.known_at, min(r.known_at) as settled,
           arg_min(r.cash, r.known_at) as cash
    from claims c left join running r on r.invoice = c.invoice and r.total >= c.cents
    group by all
), judged as (
    select r.row, f.settled < r.as_of and not f.cash as credited,
           case when f.settled < r.as_of
                then (epoch_us(f.settled) - epoch_us(f.due_at)) / 86400e6 else 99 end as late
    from rows r join full_at f
        on f.account = r.account and f.due_at + interval 30 day < r.as_of and f.known_at < r.as_of
)
select row, count(*) filter (late <= 0) as n0, count(*) filter (late > 0 and late <= 10) as n1,
       count(*) filter (late > 10 and late <= 30) as n2, count(*) filter (late > 30) as n3
from judged where credited is not true group by row
"""
# Contacts by what they met; silence counts on channels that have shown a reaction by then.
_CONTACTS = f"""
with reaction as (
    select r.row, p.contact_id, p.channel, bool_or(p.kind = 'bounced') as back,
           bool_or(p.kind in {_NOTICED}) as noticed, bool_or(p.kind = 'plan_accepted') as plan,
           bool_or(p.kind = 'refused') as refused
    from rows r join responses p on p.account = r.account and p.known_at < r.as_of
    where p.contact_id is not null group by all
), telling as (
    select t.as_of, p.channel from (select distinct as_of from rows) t
    join (select channel, min(known_at) as known_at from responses
          where kind in {_NOTICED} and channel is not null group by channel) p
        on p.known_at < t.as_of
), sent as (
    select r.row, r.as_of, c.contact_id, c.channel
    from rows r join contacts c on c.account = r.account and c.sent_at < r.as_of
        and c.channel not in {NO_CONTACT}
)
select s.row, count(*) as contacts,
       count(*) filter (a.noticed) as noticed,
       count(*) filter (a.back and not a.noticed) as back,
       count(*) filter (t.channel is not null and not coalesce(a.noticed or a.back, false))
           as silent,
       count(*) filter (a.plan) as plans, count(*) filter (a.refused) as refusals
from sent s left join reaction a on a.row = s.row and a.contact_id = s.contact_id
left join telling t on t.as_of = s.as_of and t.channel = s.channel
group by s.row
"""
_PAYMENTS = """
select r.row, count(*) as n, count(*) filter (not p.named) as unnamed
from rows r join payments p on p.account = r.account and p.known_at < r.as_of
where p.cents > 0 group by r.row
"""
_INVOICES = """
select r.row, count(*) filter (i.kind = 'credit_note') as credit_notes
from rows r join invoices i on i.account = r.account and i.issued_on < r.day group by r.row
"""


def collect(snapshot: Snapshot) -> Counts:
    """Count the outcomes of every item.

    Parameters
    ----------
    snapshot : Snapshot
        n rows; a row that names an invoice is read as its account.

    Returns
    -------
    mapping of str to (n, outcomes) float64
        By the names of ``delays.toml``; 0 everywhere = nothing known.
    """
    if not len(snapshot):
        nothing: Columns = defaultdict(lambda: np.zeros(0))
        return {name: make(nothing) for name, make in _COLUMNS_OF.items()}
    matrix = compute(snapshot.to_account_level(), _FEATURES)
    columns = {**_features(matrix), **_tables(snapshot)}
    columns["score"] = _fifth(snapshot, columns["credit_score"])
    return {name: make(columns) for name, make in _COLUMNS_OF.items()}


def _features(matrix: FeatureMatrix) -> dict[str, Float]:
    return {name: matrix.column(name).astype(np.float64) for name in _FEATURES}


def _tables(snapshot: Snapshot) -> dict[str, Float]:
    """Count what no feature gives, one column each, (n,)."""
    ledger, timeline = snapshot.ledger, snapshot.ledger.timeline
    rows = snapshot.rows.select(["row", "account", "as_of", "day"])
    named = pc.is_valid(ledger.payments["invoice_id"])
    account = pc.index_in(
        ledger.invoices["account_id"].combine_chunks(),
        value_set=ledger.accounts["account_id"].combine_chunks(),
    )
    negative = pc.less(pc.cast(ledger.invoices["amount"], pa.float64()), 0.0)
    kind = pc.if_else(negative, "credit_note", "invoice")
    found: dict[str, Float] = {}
    for sql, tables in (
        (_HISTORY, {"claims": timeline.claims.select(
                        ["account", "invoice", "due_at", "known_at", "cents"]),
                    "settlements": timeline.settlements}),
        (_CONTACTS, {"contacts": timeline.contacts, "responses": timeline.responses}),
        (_PAYMENTS, {"payments": timeline.payments.append_column("named", named)}),
        (_INVOICES, {"invoices": pa.table({"account": account, "kind": kind,
                                           "issued_on": ledger.invoices["issued_on"]})}),
    ):  # fmt: skip
        table = query(sql, {"rows": rows, **tables})
        place = table["row"].to_numpy()
        for name in table.column_names[1:]:
            found[name] = np.zeros(len(snapshot))
            found[name][place] = table[name].to_numpy()
    return found


def _fifth(snapshot: Snapshot, score: Float) -> Float:
    """Fifth of the book in which the score lies, 0 to 4; -1 = not known."""
    table = snapshot.ledger.accounts
    if "credit_score" not in table.column_names:
        return np.full(len(score), -1.0)
    book = pc.drop_null(table["credit_score"]).to_numpy().astype(np.float64)
    book = book[np.isfinite(book)]
    if len(book) == 0 or book.min() == book.max():
        return np.full(len(score), -1.0)
    edges = np.quantile(book, np.arange(1, _FIFTHS) / _FIFTHS)
    return np.where(np.isfinite(score), np.searchsorted(edges, np.nan_to_num(score)), -1.0)


def _stack(*columns: Float) -> Float:
    return np.maximum(np.stack(columns, axis=1), 0.0)


def _one_of(position: Float, width: int) -> Float:
    return (position[:, None] == np.arange(width)).astype(np.float64)


def _age(c: Columns) -> Float:
    days = c["days_past_due"]
    return _one_of(np.where(days > 0, np.searchsorted(AGES, days), -1.0), len(AGES) + 1)


def _parts(c: Columns) -> Float:
    part = c["part_share"] * c["payments_n"]
    return _stack(c["payments_n"] - part, part)


def _disputes(claims: Float, disputed: Float) -> Float:
    return _stack(claims - disputed, disputed)


_COLUMNS_OF: Mapping[str, Callable[[Columns], Float]] = {
    "history": lambda c: _stack(c["n0"], c["n1"], c["n2"], c["n3"]),
    "age": _age,
    "parts": _parts,
    "returned": lambda c: _stack(c["payments_n"] - c["returned_n"], c["returned_n"]),
    "promises": lambda c: _stack(c["promises_kept"], c["promises_broken"]),
    "plans": lambda c: _stack(c["contacts"] - c["plans"], c["plans"]),
    "reactions": lambda c: _stack(c["noticed"], c["silent"], c["back"]),
    "disputes": lambda c: _disputes(c["claims_n"], np.maximum(c["disputes_n"], c["hold_dispute"])),
    "refusals": lambda c: _stack(c["contacts"] - c["refusals"], c["refusals"]),
    "score": lambda c: _one_of(c["score"], _FIFTHS),
    "unnamed": lambda c: _stack(c["n"] - c["unnamed"], c["unnamed"]),
    "corrections": lambda c: _stack(c["claims_n"] - c["credit_notes"], c["credit_notes"]),
}
