"""From decisions to messages: one row a contact, with its template and what is open to the cent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collectopt.exceptions import InputError
from collectopt.messages.filling import (
    Breakdown,
    Claim,
    Letter,
    check_language,
    fill,
    starter_templates,
)
from collectopt.models.methods import payment_methods
from collectopt.models.templates import TemplateEffects
from collectopt.policy.templating import choose_templates
from collectopt.schema.atomic import atomic_file
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.decisions import Decisions
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.tables import NO_CONTACT
from collectopt.schema.templates import BY_HAND, Template
from collectopt.schema.times import INSTANT, AsOf, to_instant

if TYPE_CHECKING:
    import pandas as pd

_MONEY = pa.decimal128(18, 2)
_CLAIM = pa.struct(
    [
        ("invoice_id", pa.string()),
        ("kind", pa.string()),
        ("issued_on", pa.date32()),
        ("due_on", pa.date32()),
        ("amount", _MONEY),
        ("open", _MONEY),
    ]
)
SCHEMA = pa.schema(
    [
        ("account_id", pa.string()),
        ("decision_id", pa.string()),
        ("send_at", INSTANT),
        ("channel", pa.string()),
        ("tone", pa.string()),
        ("offer", pa.string()),
        ("template", pa.string()),
        ("template_propensity", pa.float64()),
        ("language", pa.string()),
        ("salutation", pa.string()),
        ("subject", pa.string()),
        ("text", pa.string()),
        ("payment_link", pa.string()),
        ("contact", pa.string()),
        ("methods", pa.list_(pa.string())),
        ("claims", pa.list_(_CLAIM)),
        ("principal", _MONEY),
        ("fees", _MONEY),
        ("interest", _MONEY),
        ("total", _MONEY),
        ("currency", pa.string()),
    ]
)
_TAKEN = ("account_id", "decision_id", "send_at", "channel", "tone", "offer")


@dataclass(frozen=True, eq=False)
class Messages:
    """What is to be sent, one row a contact.

    Attributes
    ----------
    table : pyarrow.Table
        account_id, decision_id, send_at (UTC), channel, tone, offer; template (null: none fits),
        template_propensity (P(this template | the action); write the template into the log's
        contacts), language, salutation, subject, text (null: the template has none); payment_link
        and contact (null: the message has none); methods (ways to pay, the most used first);
        claims (invoice_id, kind, issued_on, due_on, amount, open), principal, fees, interest, total
        (their sum) in currency.
    """

    table: pa.Table

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        bare = self.table["template"].null_count
        return f"Messages({len(self)} contacts, {bare} without a template)"

    def to_arrow(self) -> pa.Table:
        """Give the table."""
        return self.table

    def to_pandas(self) -> pd.DataFrame:
        """Give the table in pandas."""
        return self.table.to_pandas()

    def to_parquet(self, path: str | Path) -> None:
        """Write the table; the file appears whole or not at all."""
        with atomic_file(Path(path)) as part:
            pq.write_table(self.table, part)


def compose(
    decisions: Decisions,
    ledger: Ledger,
    catalogue: Catalogue,
    *,
    as_of: AsOf,
    effects: TemplateEffects | None = None,
    language: str = "en",
    seed: int = 0,
    payment_link: str = "{payment_link}",
    contact: str = "{contact}",
    creditor: str = "{creditor}",
) -> Messages:
    """Write the message of every contact among the decisions.

    Asked for is what the rules let ask for: open claims that are past due (else those due within
    the days allowed), without claims on hold. A contact with nothing to ask for gets no message.
    The template is drawn by its chance to be the best of those that fit.

    Parameters
    ----------
    decisions : Decisions
    ledger : Ledger
    catalogue : Catalogue
        Its templates; without any those of :func:`starter_templates`.
    as_of : str, date or aware datetime
        Claims and payments known before it count; usually the time of the decisions.
    effects : TemplateEffects or None
        What templates are known to change; None: all that fit are equal.
    language : str
        Where the customer's own is not known, or has no template.
    seed : int
        Of the draws.
    payment_link, contact, creditor : str
        Filled in; {account_id}, {decision_id} and {template} in them are replaced. By default the
        placeholders stay for the sending system.

    Returns
    -------
    Messages

    Raises
    ------
    InputError

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=100, seed=1, weeks=20)
    >>> ledger = book.ledger()
    >>> decisions = co.FixedLadder(book.catalogue).decide(ledger, book.as_of)
    >>> messages = compose(decisions, ledger, book.catalogue, as_of=book.as_of)
    >>> row = messages.to_arrow().to_pylist()[0]
    >>> row["total"] == row["principal"] + row["fees"] + row["interest"]
    True
    """
    moment = to_instant(as_of, catalogue.timezone)
    acts = pc.invert(pc.is_in(decisions.table["channel"], pa.array(NO_CONTACT)))
    table = decisions.table.filter(acts).select(list(_TAKEN))
    snapshot = _snapshot(table, ledger, moment)
    breakdowns = _breakdowns(snapshot, catalogue)
    kept = np.array([k for k, found in enumerate(breakdowns) if found.claims], dtype=np.int64)
    table, snapshot = table.take(pa.array(kept)), snapshot.take(kept)
    breakdowns = [breakdowns[k] for k in kept]
    templates = catalogue.templates or starter_templates()
    check_language(templates)
    if not (len(language) == 2 and language.isascii() and language.islower()):
        raise InputError.of(
            "compose", "language", expected="two letters, such as de or en", found=repr(language)
        )
    chosen = choose_templates(
        table, templates, _languages(snapshot), effects, fallback=language, seed=seed
    )
    ways = _methods(snapshot)
    rows = []
    for k, entry in enumerate(table.to_pylist()):
        number = int(chosen.template[k])
        template = templates[number] if number >= 0 else None
        digital = entry["channel"] not in BY_HAND and catalogue.house.digital_needs_links
        name = "" if template is None else template.name
        link, reach = (_named(text, entry, name) for text in (payment_link, contact))
        letter = Letter(
            entry["account_id"], breakdowns[k], entry["offer"], ways[k], link, reach, creditor
        )
        row = entry | _told(template, letter) | _money(breakdowns[k])
        row["template_propensity"] = None if template is None else float(chosen.propensity[k])
        row["payment_link"] = link if digital or (template and template.payment_link) else None
        row["contact"] = reach if digital or (template and template.contact_option) else None
        rows.append(row | {"methods": list(ways[k])})
    return Messages(pa.Table.from_pylist(rows, schema=SCHEMA))


def _snapshot(table: pa.Table, ledger: Ledger, moment: np.datetime64) -> Snapshot:
    unknown = pc.invert(
        pc.is_in(table["account_id"], ledger.accounts["account_id"].combine_chunks())
    )
    rows = np.flatnonzero(unknown.to_numpy())
    if len(rows):
        raise InputError.of(
            "decisions",
            "account_id",
            expected="accounts of this ledger",
            found=repr(table["account_id"][int(rows[0])].as_py()),
            rows=rows.tolist(),
            hint="Compose with the book that was decided on.",
        )
    instants = pa.array(np.full(len(table), moment.astype("datetime64[us]"))).cast(INSTANT)
    return Snapshot.from_rows(
        ledger, pa.table({"account_id": table["account_id"], "as_of": instants})
    )


def _breakdowns(snapshot: Snapshot, catalogue: Catalogue) -> list[Breakdown]:
    """Find what each row is asked for, as :class:`~collectopt.rules.state.State` counts it."""
    claims, days = snapshot.claims, catalogue.limits.pre_due_days
    row, dpd = claims["row"].to_numpy(), claims["dpd"].to_numpy()
    free = ~claims["held"].to_numpy(zero_copy_only=False)
    past = free & claims["past_due"].to_numpy(zero_copy_only=False)
    late = np.zeros(len(snapshot), dtype=bool)
    late[row[past]] = True
    asked = past | (free & ~late[row] & (-dpd <= days) & (days > 0))
    claims = claims.filter(pa.array(asked))
    kinds = (
        snapshot.ledger.invoices["kind"].combine_chunks().take(claims["invoice"].combine_chunks())
    )
    claims = claims.append_column("kind", pc.fill_null(kinds, "invoice"))
    found: list[list[Claim]] = [[] for _ in range(len(snapshot))]
    for c in claims.to_pylist():
        amounts = (Decimal(c[name]).scaleb(-2) for name in ("cents", "open_cents"))
        claim = Claim(c["invoice_id"], c["kind"], c["issued_on"], c["due_on"], *amounts)
        found[c["row"]].append(claim)
    return [Breakdown(tuple(some), catalogue.currency) for some in found]


def _languages(snapshot: Snapshot) -> list[str]:
    """Two letters of each account's language; empty where it is not known."""
    spoken = snapshot.ledger.accounts["language"].combine_chunks()
    spoken = spoken.take(snapshot.rows["account"].combine_chunks())
    return [(value or "")[:2].lower() for value in spoken.to_pylist()]


def _methods(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """Ways to pay of each row, the most used first."""
    if not len(snapshot):
        return []
    found = payment_methods(snapshot)
    order = np.argsort(-found.mean, axis=1, kind="stable")
    return [tuple(found.names[m] for m in row) for row in order]


def _named(text: str, entry: dict[str, Any], template: str) -> str:
    names = {"account_id": entry["account_id"], "decision_id": entry["decision_id"]}
    for name, value in {**names, "template": template}.items():
        text = text.replace(f"{{{name}}}", value or "")
    return text


def _told(template: Template | None, letter: Letter) -> dict[str, Any]:
    if template is None:
        return dict.fromkeys(("template", "language", "salutation", "subject", "text"))
    subject, text = fill(template, letter)
    return {
        "template": template.name,
        "language": template.language,
        "salutation": template.salutation.value,
        "subject": subject,
        "text": text,
    }


def _money(breakdown: Breakdown) -> dict[str, Any]:
    return {
        "claims": [vars(claim) for claim in breakdown.claims],
        "principal": breakdown.principal,
        "fees": breakdown.of("fee"),
        "interest": breakdown.of("interest"),
        "total": breakdown.total,
        "currency": breakdown.currency,
    }
