"""A small event log in the format of the road traffic fines, written by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

CREATE = {
    "article": 157.0,
    "vehicleClass": "A",
    "points": 0.0,
    "org:resource": "561",
    "dismissal": "NIL",
    "totalPaymentAmount": 0.0,
}

#: case, local day, event, what the event carries
CASES: tuple[tuple[str, str, str, dict[str, object]], ...] = (
    # penalised, appealed in vain, paid in parts, handed over
    ("A1", "2006-07-24", "Create Fine", {"amount": 35.0}),
    ("A1", "2006-10-29", "Send Fine", {"expense": 11.0}),  # the night the clock went back
    ("A1", "2006-11-10", "Insert Fine Notification", {"notificationType": "P"}),
    ("A1", "2006-12-20", "Insert Date Appeal to Prefecture", {}),
    ("A1", "2007-01-09", "Add penalty", {"amount": 71.5}),
    ("A1", "2007-02-01", "Receive Result Appeal from Prefecture", {}),
    ("A1", "2007-03-25", "Payment", {"paymentAmount": 40.1, "totalPaymentAmount": 60.3}),
    ("A1", "2007-03-25", "Payment", {"paymentAmount": 20.2, "totalPaymentAmount": 60.3}),
    ("A1", "2009-03-30", "Send for Credit Collection", {}),
    # paid on the day of its creation
    ("B2", "2010-12-31", "Create Fine", {"amount": 33.6, "article": 7.0, "points": 2.0}),
    ("B2", "2010-12-31", "Payment", {"paymentAmount": 33.6, "totalPaymentAmount": 33.6}),
    # nothing to pay: the fine, its penalty, the letter, the payment
    ("C3", "2005-03-01", "Create Fine", {"amount": 0.0}),
    ("C3", "2005-05-01", "Send Fine", {"expense": 0.0}),
    ("C3", "2005-05-11", "Insert Fine Notification", {"notificationType": "C"}),
    ("C3", "2005-07-10", "Add penalty", {"amount": 0.0}),
    ("C3", "2005-08-10", "Payment", {"paymentAmount": 0.0, "totalPaymentAmount": 0.0}),
    # dismissed: the outcome stands on the first event
    ("D4", "2008-06-02", "Create Fine", {"amount": 74.0, "dismissal": "A"}),
    ("D4", "2008-08-04", "Send Fine", {"expense": 13.5}),
    ("D4", "2008-09-01", "Appeal to Judge", {"dismissal": "G"}),
    # a result without an appeal; created in the last minute of 2011, paid later
    ("E5", "2011-12-31", "Create Fine", {"amount": 38.0}),
    ("E5", "2012-02-01", "Send Fine", {"expense": 10.0}),
    ("E5", "2012-04-01", "Receive Result Appeal from Prefecture", {}),
    ("E5", "2012-04-02", "Payment", {"paymentAmount": 48.0, "totalPaymentAmount": 48.0}),
    # the selected export
    ("F6", "2012-01-01", "Create Fine", {"amount": 40.0}),
    ("F6", "2012-01-05", "Payment", {"paymentAmount": 40.0, "totalPaymentAmount": 40.0}),
)

_EMPTY = (
    "amount", "expense", "paymentAmount", "totalPaymentAmount", "article", "points",
    "vehicleClass", "org:resource", "dismissal", "notificationType", "lastSent", "matricola",
)  # fmt: skip
_NUMBERS = _EMPTY[:6]


def frame(
    cases: tuple[tuple[str, str, str, dict[str, object]], ...] = CASES,
) -> pd.DataFrame:
    """Lay the events out as the log does; times are UTC instants of local midnights."""
    rows, numbers = [], {}
    for case, day, name, values in cases:
        numbers[case] = numbers.get(case, -1) + 1
        midnight = pd.Timestamp(day).tz_localize("Europe/Rome").tz_convert("UTC")
        rows.append(
            dict.fromkeys(_EMPTY)
            | {"case": case, "event_no": numbers[case], "concept:name": name}
            | {"lifecycle:transition": "complete", "time:timestamp": midnight}
            | (CREATE if name == "Create Fine" else {})
            | values
        )
    log = pd.DataFrame(rows)
    log["time:timestamp"] = log["time:timestamp"].astype("datetime64[us, UTC]")
    return log.astype(dict.fromkeys(_NUMBERS, "float64"))


def write(folder: Path, cases: tuple[tuple[str, str, str, dict[str, object]], ...] = CASES) -> Path:
    """Write the log where :func:`collectopt.integrations.fines.ledger` looks for it."""
    (folder / "road_traffic_fines").mkdir(parents=True, exist_ok=True)
    frame(cases).to_parquet(folder / "road_traffic_fines" / "events.parquet")
    return folder
