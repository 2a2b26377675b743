"""What is no fault, but worth a word: a book beside a catalogue, a time far from the book."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

import numpy as np

from collectopt.evaluation.splits import last_fact
from collectopt.exceptions import Fault, InputError
from collectopt.rules.permissions import Consent
from collectopt.rules.rules import Rules
from collectopt.rules.us_uk import ExpressConsent
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger

_DAYS = 35  # a book is usually renewed at least every month


def consents(ledger: Ledger, catalogue: Catalogue) -> Iterator[Fault]:
    """Name the channels that intrude, but of which the accounts have no column of consent.

    Parameters
    ----------
    ledger : Ledger
    catalogue : Catalogue
        Its rules say which channels these are.
    """
    rules = Rules.from_catalogue(catalogue).permissions
    strict = {name for p in rules if isinstance(p, Consent) for name in p.strict}
    known = any(isinstance(p, ExpressConsent) for p in rules)
    for name in catalogue.channel_names:
        if name in strict and f"{name}_ok" not in ledger.accounts.column_names:
            found = "no such column, so nobody tracks it: every account counts as permitted"
            if known:
                found = "no such column: where no consent is known, the channel is refused"
            yield Fault(
                "accounts",
                f"{name}_ok",
                f"consent to {name}, true or false",
                found,
                hint="Where the column is there, an account with null counts as not permitted.",
            )
    for column in ledger.accounts.column_names:
        name = column.removesuffix("_ok")
        if name == column or name in catalogue.channel_names:
            continue
        near = get_close_matches(name, catalogue.channel_names, 1)
        yield Fault(
            "accounts",
            column,
            f"consent to a channel of the catalogue: {', '.join(catalogue.channel_names)}",
            f"a column of a channel {name!r}, which nothing asks for",
            hint=f"Is it {near[0]}_ok? Who refused is contacted else." if near else "",
        )


def stale(ledger: Ledger, moment: np.datetime64) -> str | None:
    """Say that a book ends long before the time of a decision; None = it does not."""
    try:
        end = last_fact(ledger)
    except InputError:  # nothing but credit notes: nothing can be missed
        return None
    days = int((moment - end) / np.timedelta64(1, "D"))
    if days <= _DAYS:
        return None
    return (
        f"the last row of the book is of {str(end)[:10]}, {days} days before: what was paid and "
        "sent since is not known"
    )
