"""What helps where no contact does: a new address, a portal, advice, or simply to wait until a day.

These are recommendations beside the decisions, not actions among them: none of them is a message,
so nothing of what the rules say about messages is touched. The mildest that fits is named.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import pandas as pd

from collectopt.policy.engine import Bools, Case, Floats
from collectopt.rules.layout import Layout
from collectopt.rules.permissions import Consent, NoAddress, OptedOut
from collectopt.rules.state import State
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.snapshot import Snapshot


class Help(StrEnum):
    """What may be done."""

    ADVICE = "advice"  # a budget, a deferral, a place that gives advice
    UPDATE_CONTACT = "update_contact"  # find out the right address
    REGISTER_PORTAL = "register_portal"  # let the customer choose a way when he comes by
    WAIT_UNTIL = "wait_until"  # nothing before a day that is known


_COLUMNS = ("account_id", "help", "until", "worth", "why")
_ENDS = {
    "promise": "a promise to pay is running",
    "payment_plan": "a payment plan is in force",
    "service": "a service case is open",
    "breathing_space": "a breathing space is in force",
}


def recommend(
    snapshot: Snapshot, state: State, catalogue: Catalogue, case: Case | None = None
) -> pd.DataFrame:
    """Name the accounts for which something else than a message is best.

    Parameters
    ----------
    snapshot : Snapshot
        n rows of one time.
    state : State
        Their facts, with the policy's belief of distress where it has one.
    catalogue : Catalogue
    case : Case or None
        Values contacts; None = `worth` is not known.

    Returns
    -------
    DataFrame
        account_id, help (:class:`Help`), until (day; NaT = none), worth (EUR that one message by
        the best closed channel would bring: an incentive times its chance of success must not cost
        more; nan where no channel is to be won), why. An account past due has at most one row; in
        distress advice goes before a new address, and both before waiting.

    Examples
    --------
    >>> from collectopt import Catalogue
    >>> from collectopt.simulation import Book
    >>> book = Book("shop", accounts=30, seed=1, weeks=8)
    >>> snapshot = Snapshot(book.ledger(), book.as_of)
    >>> catalogue = book.catalogue
    >>> state = State.of(snapshot, catalogue, Layout.of(catalogue.actions))
    >>> list(recommend(snapshot, state, catalogue))
    ['account_id', 'help', 'until', 'worth', 'why']
    """
    layout, whole = Layout.of(catalogue.actions), slice(0, len(state))
    names = np.array(catalogue.channel_names)
    refused = Consent(catalogue.channel_names).refuse(state, layout, whole)
    banned = OptedOut().refuse(state, layout, whole)
    gone = NoAddress().refuse(state, layout, whole)
    shut = (refused | banned | gone).all(axis=1) & state.past_due
    worth = _worth(case, catalogue, gone & ~banned & ~refused)
    likely = np.zeros(len(state), dtype=bool)
    if state.distress is not None:
        likely = np.nan_to_num(state.distress) >= catalogue.house.distress
    ends = _ends(snapshot)
    rows = []
    for i, account in enumerate(snapshot.rows["account_id"].to_pylist()):
        if not state.past_due[i] and i not in ends:
            continue
        day, why = ends.get(i, (np.datetime64("NaT"), ""))
        if likely[i] or state.vulnerable[i]:
            what, why = Help.ADVICE, "the customer can probably not pay now: help before pressure"
        elif shut[i] and gone[i].any():
            what, why = Help.UPDATE_CONTACT, f"undeliverable: {', '.join(names[gone[i]])}"
        elif shut[i]:
            what, why = Help.REGISTER_PORTAL, "no channel is permitted: the customer has to choose"
        elif i in ends:
            what = Help.WAIT_UNTIL
        else:
            continue
        value = worth[i] if what is Help.UPDATE_CONTACT else np.nan
        rows.append((account, what, day, value, why))
    return pd.DataFrame(rows, columns=list(_COLUMNS)).astype({"until": "datetime64[s]"})


def _worth(case: Case | None, catalogue: Catalogue, lost: Bools) -> Floats:
    """Best value of a contact by a channel that only lacks an address, (n,)."""
    best = np.full(len(lost), np.nan)
    rows = np.flatnonzero(lost.any(axis=1))
    if case is None or not len(rows):
        return best
    contacts = np.flatnonzero(catalogue.actions.is_contact)
    values = case.euros(rows, contacts)
    open_to = lost[rows][:, catalogue.actions.channel[contacts]]
    best[rows] = np.maximum(np.where(open_to, values, 0.0).max(axis=1), 0.0)
    return best


def _ends(snapshot: Snapshot) -> dict[int, tuple[np.datetime64, str]]:
    """First free day of the hold on each whole account that ends last, as it was written."""
    found: dict[int, tuple[np.datetime64, str]] = {}
    for hold in snapshot.holds.to_pylist():
        i, day = hold["row"], hold["to_on"]
        if hold["invoice"] is not None or hold["kind"] not in _ENDS or day is None:
            continue
        if i not in found or np.datetime64(day, "D") > found[i][0]:
            found[i] = np.datetime64(day, "D"), _ENDS[hold["kind"]]
    return found
