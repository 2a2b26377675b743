"""Road traffic fines: a real dunning process, 2000 to 2013.

The log of a local police force in Italy: fine, letter, penalty, payments (in parts too), appeals,
hand-over to an agency. M. de Leoni and F. Mannhardt (2015), *Road Traffic Fine Management
Process*, 4TU.ResearchData, doi:10.4121/uuid:270fd440-1057-4fb9-89a9-b699b47990f5. It is not part
of this package; cite it where you use it.

How the log becomes a ledger
----------------------------
==================================  ============================================================
event                               becomes
==================================  ============================================================
Create Fine                         one account (there is no customer id, each case stands
                                    alone) and the invoice ``<case>-fine``, due after
                                    :data:`DUE_DAYS`
Send Fine                           a contact by letter, and the postal expense as the invoice
                                    ``<case>-post`` of kind "fee", due :data:`DUE_DAYS` later
Add penalty                         the invoice ``<case>-penalty``, due on its own day. The log
                                    writes the new total there: the penalty is the difference
Payment                             a payment without an invoice: the oldest due is settled first
Insert Date Appeal to Prefecture,   an open-ended hold "dispute" of the account
Appeal to Judge
Receive Result Appeal from          a response "dispute_resolved": in this log only lost appeals
Prefecture                          come back
Send for Credit Collection          an open-ended hold "agency" of the account
Insert Fine Notification            no row of its own, see below
==================================  ============================================================

What is easily done wrong
-------------------------
* Time stamps are UTC instants of local midnights. Days are those of Europe/Rome, and only days
  are known: each row counts as known from the next local midnight on.
* *Insert Fine Notification* is in the log only for cases that were penalised later, always 60
  days after it. A row of that day would give away the penalty, so what it says (how, and how
  long the letter took) stands on the penalty's invoice and is known with it.
* The law counts 60 days from that notification. It is not known in advance (and its presence
  gives away the future), so the fine is due a constant 60 days after its creation: 97.5 % of
  what is paid before a letter is paid by then.
* ``dismissal`` is the outcome of the case written back to its first event. It is not read.
* ``totalPaymentAmount`` is not always the running sum: payments are their ``paymentAmount``.
* Amounts of zero are no claims and no payments (36 fines, 18 penalties, 3 payments, and some
  letters). A case whose fine is zero keeps its account.
* Cases from March 2012 on are a selected export: see ``until``.
* Hand-over happens on 11 days only: the day says more about the office than about the case.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from collectopt.exceptions import Fault, InputError
from collectopt.integrations._source import cents, day, locate, money, read_columns, table
from collectopt.schema.ledger import Ledger

FOLDER = "road_traffic_fines"
FILE = "events.parquet"
TIMEZONE = "Europe/Rome"

#: Days after its creation at which a fine is due, and after its dispatch a letter's expense.
DUE_DAYS = 60

#: Columns beyond the canonical ones that may serve as features, all known with their row.
FEATURES = ("article", "vehicle_class", "points", "officer", "notified_by", "delivery_days")

_CREATE, _SEND, _PENALTY = "Create Fine", "Send Fine", "Add penalty"
_NOTIFY, _PAY, _AGENCY = "Insert Fine Notification", "Payment", "Send for Credit Collection"
_APPEALS = ("Insert Date Appeal to Prefecture", "Appeal to Judge")
_RESULT = "Receive Result Appeal from Prefecture"
# Once a case at most; a payment may come often.
_ONCE = (_CREATE, _SEND, _NOTIFY, _PENALTY, _AGENCY, _RESULT, *_APPEALS)
_COLUMNS = (
    "case", "event_no", "concept:name", "time:timestamp", "amount", "expense", "paymentAmount",
    "article", "vehicleClass", "points", "org:resource", "notificationType",
)  # fmt: skip


def ledger(
    path: str | os.PathLike[str] | None = None, *, until: str | date | None = "2011-12-31"
) -> Ledger:
    """Read the log into a ledger.

    Parameters
    ----------
    path : path-like, optional
        ``events.parquet`` (one row an event, columns named as in the log), its folder, or the
        folder above. Default: the environment variable ``COLLECTOPT_DATA``.
    until : str, date or None
        Last day of creation; later cases are left out. What happens afterwards to those that
        remain (payments, letters, penalties) is kept to the end of the log, 2013-06-18. From
        March 2012 on the log is a selected export, hence the default. None keeps all.

    Returns
    -------
    Ledger
        One account a case, with :data:`FEATURES` as features.

    Raises
    ------
    InputError
        The file is not there, lacks columns, has times without a zone, a case without a
        beginning, or an event twice that happens once.
    """
    source = locate(path, folder=FOLDER, file=FILE)
    events = _read(source)
    create = _of(events, _CREATE)
    if until is not None:
        create = create[create["day"] <= pd.Timestamp(until)]
        events = events[events["case"].isin(create.index)]
    send, penalty = _of(events, _SEND), _of(events, _PENALTY)
    accounts = table(
        {
            "account_id": create.index,
            "customer_type": np.full(len(create), "consumer"),
            "country": np.full(len(create), "IT"),
            "language": np.full(len(create), "it"),
            "timezone": np.full(len(create), TIMEZONE),
            "article": _code(create["article"]),
            "vehicle_class": create["vehicleClass"],
            "points": create["points"],
            "officer": create["org:resource"],
        }
    )
    fines = _invoices(create["day"], cents(create["amount"], source.name), "fine")
    post = _invoices(send["day"], cents(send["expense"], source.name), "post")
    extra = _penalties(create, send, penalty, _of(events, _NOTIFY), source.name)
    return Ledger.from_frames(
        accounts=accounts,
        invoices=pa.concat_tables([fines, post, extra], promote_options="default"),
        payments=_payments(events[events["concept:name"] == _PAY], source.name),
        contacts=table(
            {
                "contact_id": send.index + "-letter",
                "account_id": send.index,
                "sent_at": day(send["day"]),
                "channel": np.full(len(send), "letter"),
                "template": np.full(len(send), "fine"),
                "cost": send["expense"],
            }
        ),
        responses=_results(events),
        holds=_holds(events),
        features=FEATURES,
        timezone=TIMEZONE,
    )


def _read(source: Path) -> pd.DataFrame:
    events = read_columns(source, _COLUMNS)
    stamp = events["time:timestamp"]
    if not isinstance(stamp.dtype, pd.DatetimeTZDtype):
        raise InputError.of(
            source.name,
            "time:timestamp",
            expected="instants with a time zone",
            found=str(stamp.dtype),
            hint="The log's times are UTC.",
        )
    events["day"] = stamp.dt.tz_convert(TIMEZONE).dt.normalize().dt.tz_localize(None)
    faults = []
    name = events["concept:name"]
    orphans = events.index[~events["case"].isin(events["case"][name == _CREATE])]
    twice = events.index[name.isin(_ONCE) & events.duplicated(["case", "concept:name"])]
    for rows, expected in (
        (orphans, f"cases that begin with {_CREATE!r}"),
        (twice, f"once a case: {', '.join(_ONCE)}"),
    ):
        if len(rows):
            first = events.loc[rows[0]]
            found = f"{first['concept:name']!r} of case {first['case']}"
            shown = tuple(int(row) for row in rows[:5])
            faults.append(Fault(source.name, "case", expected, found, shown, len(rows)))
    if faults:
        raise InputError(faults)
    return events


def _of(events: pd.DataFrame, name: str) -> pd.DataFrame:
    """Events of one kind that a case has once, by case."""
    return events[events["concept:name"] == name].set_index("case")


def _invoices(issued: pd.Series, amount: np.ndarray, product: str) -> pa.Table:
    """Make the claims of one kind; zero is no claim."""
    keep = amount > 0
    issued, amount = issued[keep], amount[keep]
    due = issued if product == "penalty" else issued + pd.Timedelta(days=DUE_DAYS)
    return table(
        {
            "invoice_id": issued.index + f"-{product}",
            "account_id": issued.index,
            "issued_on": day(issued),
            "due_on": day(due),
            "amount": money(amount),
            "currency": np.full(len(issued), "EUR"),
            "kind": np.full(len(issued), "fee" if product == "post" else "invoice"),
            "product": np.full(len(issued), product),
        }
    )


def _penalties(
    create: pd.DataFrame,
    send: pd.DataFrame,
    penalty: pd.DataFrame,
    notified: pd.DataFrame,
    file: str,
) -> pa.Table:
    """Make the penalties: what the new total exceeds the fine by."""
    fine = create["amount"].reindex(penalty.index)
    rise = cents(penalty["amount"], file) - cents(fine, file)
    invoices = _invoices(penalty["day"], rise, "penalty")
    cases = pd.Index(invoices["account_id"].to_pandas())
    took = (notified["day"] - send["day"].reindex(notified.index)).dt.days
    return invoices.append_column(
        "notified_by", pa.array(notified["notificationType"].reindex(cases), from_pandas=True)
    ).append_column(
        "delivery_days",
        pa.array(took.reindex(cases).astype("float64"), from_pandas=True),
    )


def _payments(paid: pd.DataFrame, file: str) -> pa.Table:
    amount = cents(paid["paymentAmount"], file)
    keep = amount != 0
    paid, amount = paid[keep], amount[keep]
    return table(
        {
            "payment_id": paid["case"] + "-" + paid["event_no"].astype(str),
            "account_id": paid["case"],
            "paid_at": day(paid["day"]),
            "amount": money(amount),
        }
    )


def _results(events: pd.DataFrame) -> pa.Table:
    """Lost appeals: they end a dispute, so they need one that began before."""
    result = _of(events, _RESULT)
    appeal = _of(events, _APPEALS[0])["day"].reindex(result.index)
    result = result[(appeal <= result["day"]).to_numpy()]
    return table(
        {
            "account_id": result.index,
            "at": day(result["day"]),
            "kind": np.full(len(result), "dispute_resolved"),
        }
    )


def _holds(events: pd.DataFrame) -> pa.Table:
    kinds = {_APPEALS[0]: "dispute", _APPEALS[1]: "dispute", _AGENCY: "agency"}
    rows = events[events["concept:name"].isin(kinds)]
    return table(
        {
            "account_id": rows["case"],
            "kind": rows["concept:name"].map(kinds),
            "from_on": day(rows["day"]),
        }
    )


def _code(number: pd.Series) -> pd.Series:
    """Write a whole number that names something (157.0) as text ("157")."""
    return number.astype("Int64").astype("string")
