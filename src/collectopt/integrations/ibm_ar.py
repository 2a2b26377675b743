"""IBM's sample of late invoices, 2012 and 2013: 2,466 invoices of 100 customers.

"WA_Fn-UseC_-Accounts-Receivable", published by IBM with its Watson Analytics samples. It looks
synthetic: 28 % of the payments fall on weekends, every term is 30 days, every invoice is paid by
one payment. Good for demonstrations and known answers, no evidence of skill. It is not part of
this package.

How it becomes a ledger
-----------------------
A customer is an account of type "business"; an invoice is settled by one payment that names it.

What is easily done wrong
-------------------------
* ``Disputed`` is a flag without a date, known only after the invoice was paid or not: with it a
  model reaches an AUC of .913, without it .871. It is not read, neither as feature nor as hold.
* ``DaysToSettle`` and ``DaysLate`` are the outcome. They are not read.
* ``PaperlessDate`` may lie after the invoice; ``PaperlessBill`` says how this one was sent.
  The ledger has the latter, on the invoice.
* ``countryCode`` is no ISO code: the country is "ZZ" (unknown), the code is a feature.
* The file names no currency: "USD" is assumed.
* Days have no time of day: each row counts as known from the next midnight (UTC) on.
"""

from __future__ import annotations

import os

import numpy as np

from collectopt.integrations._source import cents, day, locate, money, read_columns, table
from collectopt.schema.ledger import Ledger

FOLDER = "ibm_ar"
FILE = "invoices.parquet"

#: Columns beyond the canonical ones that may serve as features, all known with their row.
FEATURES = ("country_code", "paperless")

_COLUMNS = (
    "countryCode", "customerID", "invoiceNumber", "InvoiceDate", "DueDate", "InvoiceAmount",
    "SettledDate", "PaperlessBill",
)  # fmt: skip


def ledger(path: str | os.PathLike[str] | None = None) -> Ledger:
    """Read the sample into a ledger.

    Parameters
    ----------
    path : path-like, optional
        ``invoices.parquet`` (columns named as in IBM's file), its folder, or the folder above.
        Default: the environment variable ``COLLECTOPT_DATA``.

    Returns
    -------
    Ledger
        One account a customer, with :data:`FEATURES` as features.

    Raises
    ------
    InputError
        The file is not there or lacks columns.
    """
    source = locate(path, folder=FOLDER, file=FILE)
    rows = read_columns(source, _COLUMNS)
    customers = rows.sort_values("InvoiceDate", kind="stable").drop_duplicates("customerID")
    amount = cents(rows["InvoiceAmount"], source.name)
    settled = rows["SettledDate"].notna().to_numpy()
    return Ledger.from_frames(
        accounts=table(
            {
                "account_id": customers["customerID"],
                "customer_type": np.full(len(customers), "business"),
                "country": np.full(len(customers), "ZZ"),
                "country_code": customers["countryCode"].astype(str),
            }
        ),
        invoices=table(
            {
                "invoice_id": rows["invoiceNumber"],
                "account_id": rows["customerID"],
                "issued_on": day(rows["InvoiceDate"]),
                "due_on": day(rows["DueDate"]),
                "amount": money(amount),
                "currency": np.full(len(rows), "USD"),
                "kind": np.full(len(rows), "invoice"),
                "paperless": (rows["PaperlessBill"] == "Electronic").to_numpy(),
            }
        ),
        payments=table(
            {
                "payment_id": rows["invoiceNumber"][settled] + "-payment",
                "account_id": rows["customerID"][settled],
                "paid_at": day(rows["SettledDate"][settled]),
                "amount": money(amount[settled]),
                "invoice_id": rows["invoiceNumber"][settled],
            }
        ),
        features=FEATURES,
        timezone="UTC",
    )
