"""Features and reasons of delay of one account in plain Python: the numbers of the engine."""

from __future__ import annotations

from datetime import UTC

import numpy as np
import pytest

from collectopt.features import compute
from collectopt.features.one import OneFeatures
from collectopt.models.delays import DelayModel
from collectopt.models.one_delays import QuickDelays
from collectopt.schema import Snapshot
from collectopt.schema.clock import UnusualError
from collectopt.schema.one_rows import Reader
from collectopt.schema.one_seen import Seen

from .books import OWN, edge_rows, random_book, random_rows, to_ledger


def plain(book):
    """Rows as a caller has them, without columns of their own."""
    return {
        name: [{key: value for key, value in row.items() if key not in OWN} for row in rows]
        for name, rows in book.items()
    }


def micros(moment):
    return int(np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us").astype(np.int64))


@pytest.mark.parametrize("seed", range(16))
def test_one_account_at_the_instants_of_all_its_facts(seed):
    book = random_book(seed, days_only=seed % 4 == 3, accounts=1)
    rows = [*edge_rows(book), *(row | {"invoice_id": None} for row in random_rows(seed, book))]
    snapshot = Snapshot.from_rows(to_ledger(book, own=()), rows)
    matrix = compute(snapshot)
    model = DelayModel().fit(snapshot.ledger, rows[-1]["as_of"])
    reasons = model.predict(snapshot)
    one = OneFeatures([(matrix.names, matrix.categories), (QuickDelays.names, {})])
    delays = QuickDelays(model)
    account = Reader("EUR").read(plain(book))
    for i, row in enumerate(rows):
        seen = Seen.of(account, micros(row["as_of"]))
        values = one.values(seen)
        np.testing.assert_allclose(
            one.row(values),
            matrix.values[i],
            rtol=1e-6,
            atol=1e-6,
            err_msg=str((matrix.names, row)),
        )
        assert delays.of(seen, values) == pytest.approx(
            (reasons.distress[i], reasons.doubt[i]), rel=1e-9, abs=1e-12
        )


@pytest.mark.parametrize("seed", range(4))
def test_what_is_open_and_what_holds(seed):
    """A snapshot of the account says the same, claim by claim and hold by hold."""
    book = random_book(seed + 100, accounts=1)
    rows = edge_rows(book)
    snapshot = Snapshot.from_rows(to_ledger(book, own=()), rows)
    names = ("row", "invoice", "open_cents", "dpd", "past_due", "held")
    claims = list(zip(*(snapshot.claims[name].to_pylist() for name in names), strict=True))
    holds = list(zip(*(snapshot.holds[name].to_pylist() for name in ("row", "kind")), strict=True))
    account = Reader("EUR").read(plain(book))
    for i, row in enumerate(rows):
        seen = Seen.of(account, micros(row["as_of"]))
        found = [(i, o.claim.number, o.cents, o.dpd, o.past_due, o.held) for o in seen.open]
        assert found == [claim for claim in claims if claim[0] == i]
        active = sorted((i, each.hold.kind) for each in seen.holds if each.active)
        assert active == sorted(hold for hold in holds if hold[0] == i)


def test_only_what_is_asked_for_and_known():
    book = random_book(0, accounts=1)
    seen = Seen.of(Reader("EUR").read(plain(book)), micros(edge_rows(book)[-1]["as_of"]))
    one = OneFeatures([(("claims_n",), {})])
    assert "payments_n" not in one.values(seen)
    assert one.row(one.values(seen)).dtype == np.float32
    for name in ("accounts.size", "nothing", "last_channel"):  # of the caller, none, without codes
        with pytest.raises(UnusualError):
            OneFeatures([((name,), {})])
