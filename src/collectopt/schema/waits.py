"""How long a policy may plan to wait: the table [waits] of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from collectopt.exceptions import CatalogueError, Fault

if TYPE_CHECKING:
    from collectopt.schema.catalogue import Catalogue

_Days = Annotated[int, Field(gt=0, strict=True)]


class Waits(BaseModel):
    """Waiting for a while, valued beside the actions.

    Attributes
    ----------
    days : tuple of int
        So many days, such as [3, 7, 14]; at most horizon_days. An account is decided again in the
        first run from then on.
    payday : bool
        Also until after the account's usual day of payment, where its payments show one.
    grace_days : int
        So many days after the usual day of payment.
    fade : float
        Share of what an action changes that is lost with every week of waiting: claims that age
        are collected less well. Assumed, not learnt; the smaller it is, the more is waited.

    Examples
    --------
    >>> Waits(days=[7, 14]).fade
    0.2
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: tuple[_Days, ...] = ()
    payday: StrictBool = True
    grace_days: Annotated[int, Field(ge=0, le=14, strict=True)] = 2
    fade: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.2

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.days and not self.payday:
            expected = "some days, such as [3, 7, 14], or payday = true"
            raise CatalogueError([Fault("catalogue", "days", expected, "neither")])
        return self


def check_waits(catalogue: Catalogue) -> Iterator[Fault]:
    """Find waits that are longer than outcomes are counted."""
    for j, days in enumerate(() if catalogue.waits is None else catalogue.waits.days):
        if days > catalogue.horizon_days:
            expected = f"at most horizon_days, {catalogue.horizon_days}"
            yield Fault("catalogue", f"waits.days.{j}", expected, str(days))
