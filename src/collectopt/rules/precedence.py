"""Who has the last word: the one order in which all that speaks about a decision is heard."""

from __future__ import annotations

from enum import IntEnum


class Precedence(IntEnum):
    """What goes before what; the lower number wins.

    ``STOP``
        The case is closed to everybody: insolvency, death, breathing space, "do not contact me".
    ``HOLD``
        Somebody is dealing with it: dispute, plan, promise, vulnerable customer, agency, court.
    ``LAW``
        The legal mask, and what cannot be done at all: consent, opt-out, hours, approval, a slot
        that is over, an address that does not exist. A rule that does not say its rank stands here.
        So does DISTRESS, also where it goes by a belief of the policy alone: the law asks for
        forbearance, the customer's means are a fact that no ledger holds, and what is not known
        counts to the strict side. Nobody presses there, a person neither.
    ``OVERRIDE``
        What a person decided for the account: see :class:`collectopt.policy.Override`.
    ``CONTACT_POLICY``
        What the house imposes on itself: contacts a week, steps and tables of tones, a gentle first
        contact, own contacts before an agency. A person may set it aside, the optimiser may not.
    ``CAPACITY``
        Budget, minutes, harshness, contacts a run. What a person forces is served first, even above
        them, and so is what a change of tone takes; the others share what is left.
    ``OPTIMISER``
        The action of most value.
    ``EXPLORATION``
        Chance, where all of the above leave it a choice and no person has spoken.

    Examples
    --------
    >>> Precedence.HOLD < Precedence.OVERRIDE < Precedence.CONTACT_POLICY
    True
    """

    STOP = 0
    HOLD = 1
    LAW = 2
    OVERRIDE = 3
    CONTACT_POLICY = 4
    CAPACITY = 5
    OPTIMISER = 6
    EXPLORATION = 7
