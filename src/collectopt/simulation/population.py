"""Who is in the book: everything about the accounts that no action changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv

from collectopt.simulation.kinds import PHONE, SMS, CustomerType, Kind
from collectopt.simulation.noise import FloatArray, IntArray, Noise, Purpose

BoolArray = npt.NDArray[np.bool_]
TRANSFER, WALLET, CARD, DIRECT_DEBIT = range(4)
METHODS = ("transfer", "wallet", "card", "direct_debit", "agency", "court")
REGIONS = ("BW", "BY", "BE", "BB", "HB", "HH", "HE", "MV", "NI", "NW", "RP", "SL", "SN", "ST",
           "SH", "TH")  # fmt: skip
_REGION_SHARE = np.array([11.3, 13.4, 3.8, 2.6, 0.7, 1.9, 6.4, 1.6, 8.2, 18.1, 4.2, 1.0, 4.1, 2.2,
                          3.0, 2.1])  # fmt: skip


@dataclass(frozen=True)
class Population:
    """Latent and visible traits, arrays over the n accounts in the order of their ids.

    Attributes
    ----------
    type : (n,) int64
        `CustomerType` of the account.
    pace : (n,) float64
        Individual factor on the hazard of paying.
    rate : (n,) float64
        Invoices a week.
    amount : (n,) float64
        Median amount of the account's invoices, EUR.
    term : (n,) int64
        Days from issue to due.
    bill_day, settle_month : (n,) int64
        Day of the month of regular invoices; month of the yearly settlement.
    pay_run : (n,) int64
        Weekday on which a business pays, -1 = any.
    payday : (n,) int64
        Day of the month on which money arrives, 0 = no payday.
    persuasion : (n,) float64
        Added cumulative hazard of a read contact of strength 1.
    tone : (n, 3) float64
        Factor on persuasion by tone.
    reach : (n, 4) float64
        Probability by channel to be reached at the preferred hour.
    hour : (n,) float64
        Preferred local hour.
    weekday : (n,) int64
        Preferred day of the week, 0 = Monday; firms from Monday to Friday, others to Saturday.
    attrition : (n,) float64
        Probability a week to leave without a cause.
    method : (n,) int64
        Position in `METHODS`.
    names_invoice : (n,) bool
        Whether payments name the invoice.
    bad_address : (n, 4) bool
        Channels that lead nowhere.
    machine_opens : (n,) bool
        Whether a program opens every e-mail.
    since : (n,) int64
        Day on which the customer came, up to 0.
    score, lifetime_value : (n,) float64
        What the creditor believes; score NaN = unknown.
    consent : (n, 4) bool
        Consent by channel at the start.
    """

    type: IntArray
    pace: FloatArray
    rate: FloatArray
    amount: FloatArray
    term: IntArray
    bill_day: IntArray
    settle_month: IntArray
    pay_run: IntArray
    payday: IntArray
    persuasion: FloatArray
    tone: FloatArray
    reach: FloatArray
    hour: FloatArray
    weekday: IntArray
    attrition: FloatArray
    method: IntArray
    names_invoice: BoolArray
    bad_address: BoolArray
    machine_opens: BoolArray
    business: BoolArray
    since: IntArray
    region: IntArray
    score: FloatArray
    lifetime_value: FloatArray
    consent: BoolArray

    def __len__(self) -> int:
        """Count the accounts."""
        return len(self.type)


def _pick(uniform: FloatArray, weights: FloatArray) -> IntArray:
    edges = np.cumsum(weights) / np.sum(weights)
    return np.searchsorted(edges[:-1], uniform, side="right").astype(np.int64)


def _choose(values: tuple[int, ...], uniform: FloatArray) -> IntArray:
    """Choose one of some values, each as likely as the next."""
    result: IntArray = np.array(values)[_pick(uniform, np.ones(len(values)))]
    return result


def draw_population(kind: Kind, accounts: int, noise: Noise) -> Population:
    """Draw the accounts. Account i is the same in every book of that kind and seed."""
    unit = np.arange(accounts, dtype=np.int64)

    def uniform(draw: int) -> FloatArray:
        return noise.uniform(Purpose.TRAIT, unit, 0, draw)

    def normal(draw: int) -> FloatArray:
        return noise.normal(Purpose.TRAIT, unit, 0, draw)

    shares = np.array([of.share for of in kind.types])
    types = _pick(noise.uniform(Purpose.TYPE, unit), shares)

    def by_type(values: list[float]) -> FloatArray:
        return np.array(values, dtype=np.float64)[types]

    business = uniform(0) < kind.business
    billing, tie = kind.billing, kind.tie
    if billing.cycle == "orders":
        gamma = gammaincinv(billing.rate_shape, uniform(1))
        rate = billing.invoices_a_week / billing.rate_shape * gamma
        rate = np.clip(rate, 0.01, billing.most_a_week)
    else:
        rate = np.full(accounts, 12.0 / 52.0)
    amount = billing.amount * np.exp(billing.between * normal(2))
    amount = amount * np.where(business, billing.business_factor, 1.0)
    method = _pick(uniform(3), np.array(kind.payment.methods))
    # Who does not want to pay, or cannot, does not give a mandate.
    mandate = np.isin(types, [CustomerType.PUNCTUAL, CustomerType.FORGETFUL, CustomerType.SLOW])
    shaky = (types == CustomerType.DISTRESSED) & (uniform(4) < 0.5)
    no_mandate = (method == DIRECT_DEBIT) & ~mandate & ~shaky
    method = np.where(no_mandate | (business & (method == WALLET)), TRANSFER, method)
    since = -np.floor(1500.0 * uniform(5) ** 1.5).astype(np.int64)
    score = np.clip(by_type([of.score for of in kind.types]) + 11.0 * normal(8), 1.0, 100.0)
    margin = tie.margin * rate * 52.0 * amount
    tone = np.array([of.tone for of in kind.types])[types]
    tone = tone * np.exp(0.12 * np.stack([normal(20 + j) for j in range(3)], axis=1))
    return Population(
        type=types,
        pace=np.exp(0.3 * normal(9)),
        rate=rate,
        amount=amount,
        term=np.where(
            business,
            _choose(billing.business_terms, uniform(10)),
            _choose(billing.terms, uniform(10)),
        ),
        bill_day=1 + np.floor(28.0 * uniform(60)).astype(np.int64),
        settle_month=1 + np.floor(12.0 * uniform(61)).astype(np.int64),
        pay_run=np.where(
            business & kind.payment.runs, np.floor(5.0 * uniform(62)).astype(np.int64), -1
        ),
        payday=np.where(business, 0, np.array([1, 15, 25, 28])[_pick(uniform(11), np.ones(4))]),
        persuasion=by_type([of.persuasion for of in kind.types]) * np.exp(0.4 * normal(12) - 0.08),
        tone=tone,
        reach=_reach(kind, types, business, noise, unit),
        hour=np.where(
            business,
            9.0 + 6.0 * uniform(13),
            np.array([8.5, 12.5, 17.5, 19.5])[_pick(uniform(14), np.array([2, 2, 3, 3.0]))],
        ),
        weekday=np.floor(np.where(business, 5.0, 6.0) * uniform(25)).astype(np.int64),
        attrition=tie.attrition
        * gammaincinv(tie.attrition_shape, uniform(15))
        / tie.attrition_shape,
        method=method,
        names_invoice=(uniform(16) >= 0.12) | (method == DIRECT_DEBIT),
        bad_address=np.stack([uniform(30 + j) for j in range(4)], axis=1)
        < np.where(types == CustomerType.UNREACHABLE, 0.3, 0.015)[:, None],
        machine_opens=uniform(17) < 0.3,
        business=business,
        since=since,
        region=_pick(uniform(18), _REGION_SHARE),
        score=np.where(business | (uniform(19) < 0.1), np.nan, np.round(score, 1)),
        lifetime_value=np.round(tie.years * margin * np.exp(0.3 * normal(24)), 2),
        consent=_consent(kind, types, noise, unit),
    )


def _reach(
    kind: Kind, types: IntArray, business: BoolArray, noise: Noise, unit: IntArray
) -> FloatArray:
    factor = np.array([of.reach for of in kind.types])[types]
    logit = np.log(np.array(kind.reach) / (1.0 - np.array(kind.reach)))
    own = np.stack([noise.normal(Purpose.TRAIT, unit, 0, 40 + j) for j in range(4)], axis=1)
    common = noise.normal(Purpose.TRAIT, unit, 0, 45)[:, None]
    reach = 1.0 / (1.0 + np.exp(-(logit + 0.5 * own + 0.4 * common)))
    reach[:, PHONE] *= np.where(business, 1.3, 1.0)
    result: FloatArray = np.clip(reach * factor[:, None], 0.0, 0.97)
    return result


def _consent(kind: Kind, types: IntArray, noise: Noise, unit: IntArray) -> BoolArray:
    share = np.tile(np.array(kind.consent), (len(unit), 1))
    share[:, [SMS, PHONE]] *= np.where(types == CustomerType.UNREACHABLE, 0.6, 1.0)[:, None]
    draws = np.stack([noise.uniform(Purpose.TRAIT, unit, 0, 50 + j) for j in range(4)], axis=1)
    result: BoolArray = draws < share
    return result
