"""Which template for an action: the one that changes most, as far as the log tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from collectopt.models.templates import TemplateEffects
from collectopt.policy.draws import uniforms
from collectopt.policy.panel import encode, outcomes
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.ledger import Ledger
from collectopt.schema.snapshot import Snapshot
from collectopt.schema.tables import NO_CONTACT
from collectopt.schema.templates import Template
from collectopt.schema.times import INSTANT, AsOf, to_instant

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Share of the choices that goes to all that fit alike, so that none is ever dropped unheard.
FLOOR = 0.05
_KNOTS = 6  # of time: templates come and go while the whole book changes


def learn_templates(
    ledger: Ledger,
    as_of: AsOf,
    catalogue: Catalogue,
    templates: Sequence[Template] | None = None,
) -> TemplateEffects:
    """Learn what templates change from the contacts of a book.

    Contacts with the same channel, tone, offer and language of the text are compared, given what
    was known of the account and when; the outcome is that everything past due was paid within the
    horizon. It needs no propensities of actions. Contacts before the due date are left out.

    Parameters
    ----------
    ledger : Ledger
    as_of : str, date or aware datetime
        Nothing from then on is read.
    catalogue : Catalogue
    templates : sequence of Template or None
        Those to learn of, by their names in the column ``template``; None: the catalogue's.

    Returns
    -------
    TemplateEffects

    Examples
    --------
    >>> import collectopt as co
    >>> book = co.simulation.Book("shop", accounts=100, seed=1, weeks=20)
    >>> learn_templates(book.ledger(), book.as_of, book.catalogue).names
    ()
    """
    templates = catalogue.templates if templates is None else tuple(templates)
    cut = to_instant(as_of, catalogue.timezone)
    contacts = _sent(ledger, cut, [template.name for template in templates])
    action = encode(contacts, ledger, catalogue.actions)
    kept = np.flatnonzero(action >= 0)
    contacts, action = contacts.take(pa.array(kept)), action[kept]
    ids = ledger.accounts["account_id"].combine_chunks().take(contacts["account"].combine_chunks())
    rows = pa.table({"account_id": ids, "as_of": contacts["known_at"]})
    rows = rows.append_column("propensity", pa.array(np.ones(len(rows))))
    if not len(rows):
        return TemplateEffects.fit(np.zeros((0, 1)), [], cell=[], template=[], templates=templates)
    horizon = f"{catalogue.horizon_days}D"
    log, matrix, snapshot = outcomes(ledger, cut, catalogue, rows, action, horizon=horizon)
    number = _numbers(contacts, snapshot, [template.name for template in templates])
    language = np.unique([t.language for t in templates], return_inverse=True)[1][number]
    actions = log.actions
    factors = [actions.channel, actions.tone, actions.offer]
    cells = np.column_stack([*(f[log.action] for f in factors), language])
    return TemplateEffects.fit(
        np.column_stack([matrix.values, _times(snapshot)]).astype(np.float32),
        log.reward,
        cell=np.unique(cells, axis=0, return_inverse=True)[1].reshape(-1),
        template=number,
        templates=templates,
        weight=log.weight,
        account=log.account,
    )


def _sent(ledger: Ledger, cut: np.datetime64, names: Sequence[str]) -> pa.Table:
    """Take contacts known before the cut with one of the templates, one an account and moment."""
    contacts = ledger.timeline.contacts
    moment = pa.scalar(cut.item()).cast(pa.timestamp("us")).cast(INSTANT)
    usable = pc.and_(
        pc.less(contacts["known_at"], moment),
        pc.and_(
            pc.is_in(contacts["template"], pa.array(names, pa.string())),
            pc.invert(pc.is_in(contacts["channel"], pa.array(NO_CONTACT))),
        ),
    )
    keys = [("account", "ascending"), ("known_at", "ascending"), ("contact_id", "ascending")]
    contacts = contacts.filter(pc.fill_null(usable, fill_value=False)).sort_by(keys)
    account = contacts["account"].to_numpy()
    at = pc.cast(contacts["known_at"], pa.int64()).to_numpy()
    first = np.r_[True, (account[1:] != account[:-1]) | (at[1:] != at[:-1])]
    return contacts.take(pa.array(np.flatnonzero(first[: len(account)])))


def _numbers(contacts: pa.Table, snapshot: Snapshot, names: Sequence[str]) -> Ints:
    """Find the template of each row of the snapshot, which lacks some of the contacts."""
    account = contacts["account"].to_numpy().tolist()
    at = pc.cast(contacts["known_at"], pa.int64()).to_pylist()
    place = pc.index_in(contacts["template"], value_set=pa.array(names, pa.string())).to_pylist()
    of = dict(zip(zip(account, at, strict=True), place, strict=True))
    rows = snapshot.rows["account"].to_pylist(), snapshot.as_of.astype(np.int64).tolist()
    return np.array([of[key] for key in zip(*rows, strict=True)], dtype=np.int64)


def _times(snapshot: Snapshot) -> Floats:
    """Tents over the span of the rows, (n, knots)."""
    at = snapshot.as_of.astype(np.int64).astype(np.float64)
    place = (at - at.min()) / max(float(np.ptp(at)), 1.0) * (_KNOTS - 1)
    return np.maximum(1.0 - np.abs(place[:, None] - np.arange(_KNOTS)), 0.0)


@dataclass(frozen=True, eq=False)
class Chosen:
    """Templates of n decisions.

    Attributes
    ----------
    template : (n,) int64
        Row of the templates; -1 = none fits.
    propensity : (n,) float64
        P(this template | the action); nan where none fits.
    """

    template: Ints
    propensity: Floats


def choose_templates(
    decisions: pa.Table,
    templates: Sequence[Template],
    languages: Sequence[str],
    effects: TemplateEffects | None = None,
    *,
    fallback: str = "en",
    seed: int = 0,
) -> Chosen:
    """Draw a template for each decision, by its chance to be the best of those that fit.

    Equal ones are drawn alike, one that is known to be the best nearly always; the draw depends on
    the decision, the seed and nothing else.

    Parameters
    ----------
    decisions : pyarrow.Table
        n rows with channel, tone, offer and decision_id.
    templates : sequence of Template
    languages : sequence of str, n
        Of the customer; where no template has it, ``fallback``, then any.
    effects : TemplateEffects or None
        None: all that fit are equal.
    fallback : str
    seed : int

    Returns
    -------
    Chosen
    """
    n = len(decisions)
    template, propensity = np.full(n, -1, np.int64), np.full(n, np.nan)
    ids = decisions["decision_id"].to_numpy(zero_copy_only=False)
    u = uniforms(ids, 0, seed, streams=1)[:, 0]
    keys = [decisions[name].to_pylist() for name in ("channel", "tone", "offer")]
    groups: dict[tuple[str | None, ...], list[int]] = {}
    for row, key in enumerate(zip(*keys, languages, strict=True)):
        groups.setdefault(key, []).append(row)
    for (channel, tone, offer, language), rows in groups.items():
        fit = fitting(templates, channel, tone, offer, (language or "", fallback))
        if not fit:
            continue
        equal = np.full(len(fit), 1.0 / len(fit))
        best = equal if effects is None else effects.chances([templates[k] for k in fit])
        chance = (1.0 - FLOOR) * best + FLOOR * equal
        edges = np.cumsum(chance)[:-1]
        drawn = np.searchsorted(edges, u[rows], side="right")
        template[rows], propensity[rows] = np.array(fit)[drawn], chance[drawn]
    return Chosen(template, propensity)


def fitting(
    templates: Sequence[Template],
    channel: str | None,
    tone: str | None,
    offer: str | None,
    languages: Sequence[str],
) -> list[int]:
    """Find the templates for an action, in the first of the languages that has one, else in any.

    Examples
    --------
    >>> some = [Template(name=x, channel="letter", tone="firm", language=x) for x in ("de", "en")]
    >>> fitting(some, "letter", "firm", "none", ("fr", "en"))
    [1]
    """
    fit = [
        k
        for k, t in enumerate(templates)
        if t.channel == channel and t.tone == tone and t.offer in {None, offer or "none"}
    ]
    for language in languages:
        spoken = [k for k in fit if templates[k].language == language]
        if spoken:
            return spoken
    return [k for k in fit if templates[k].language == templates[fit[0]].language] if fit else []
