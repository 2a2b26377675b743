"""Read a saved policy back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from collectopt.exceptions import ArtifactError, InputError
from collectopt.models.harm import Harm
from collectopt.objective import from_dict
from collectopt.policy.base import FORMAT, MARKER, Policy
from collectopt.policy.constant import Arm, BestConstant
from collectopt.policy.effects import Effects
from collectopt.policy.handover import Outside
from collectopt.policy.ladder import FixedLadder
from collectopt.policy.marginal import MarginalValue, Value
from collectopt.policy.next_best import NextBestAction
from collectopt.policy.plain import Everybody, NoContact, Random
from collectopt.policy.split import Split, folder_of
from collectopt.rules.rules import Rules
from collectopt.schema.catalogue import Catalogue


def load(path: str | Path) -> Policy:
    """Read a policy that ``policy.save(path)`` wrote.

    Raises
    ------
    ArtifactError
        The folder is no saved policy, was written by a newer version, or was changed.
    """
    folder = Path(path)
    head = _head(folder)
    try:
        catalogue = Catalogue.from_dict(head["catalogue"], source=str(folder / MARKER))
        policy = _build(head, catalogue, read_rules(catalogue, head["rules"]), folder)
    except (KeyError, TypeError, InputError) as error:
        raise ArtifactError(f"{folder / MARKER} cannot be read: {error}") from error
    policy._seal(folder)  # noqa: SLF001 - the version is a hash of what was read
    if policy.version != head["version"]:
        raise ArtifactError(
            f"{folder} holds other content than its version {head['version']} says "
            f"({policy.version}): it was changed after it was saved, or damaged. Save it again."
        )
    return policy


def _head(folder: Path) -> dict[str, Any]:
    file = folder / MARKER
    if not file.is_file():
        below = sorted(str(found.parent) for found in folder.glob(f"*/{MARKER}"))
        hint = f"Is it {' or '.join(below[:3])}?" if below else "policy.save(path) writes one."
        raise ArtifactError(f"{folder} is no saved policy: there is no {MARKER}. {hint}")
    try:
        head: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        number = head["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file} cannot be read: {error}") from error
    if number != FORMAT:
        raise ArtifactError(
            f"{file} has format {number}; this version of collectopt reads format {FORMAT}. "
            "Fit and save the policy again, or use the version that wrote it."
        )
    return head


def read_rules(catalogue: Catalogue, codes: list[str]) -> Rules:
    """Take the catalogue's rules with these codes.

    Raises
    ------
    ArtifactError
        A code is not among them.
    """
    rules = Rules.from_catalogue(catalogue)
    unknown = sorted(set(codes) - set(rules.codes))
    if unknown:
        raise ArtifactError(f"the saved rules {', '.join(unknown)} are not known to this version")
    return rules.without(set(rules.codes) - set(codes))


def _build(head: dict[str, Any], catalogue: Catalogue, rules: Rules, folder: Path) -> Policy:
    content = head["content"]
    plain: dict[str, Callable[[], Policy]] = {
        FixedLadder.kind: lambda: FixedLadder(catalogue, content["days"], rules),
        NoContact.kind: lambda: NoContact(catalogue, rules),
        Random.kind: lambda: Random(catalogue, content["contact"], rules),
        Everybody.kind: lambda: Everybody(catalogue, **content, rules=rules),
    }
    if head["kind"] in plain:
        return plain[head["kind"]]()
    if head["kind"] == Split.kind:
        arms = [load(folder / folder_of(i)) for i in range(1 + len(content["challengers"]))]
        shares = zip(content["challengers"], arms[1:], strict=True)
        return Split(arms[0], {c["name"]: (p, c["share"]) for c, p in shares}, content["salt"])
    if head["kind"] == BestConstant.kind:
        constant = BestConstant(catalogue, rules)
        constant.arm_ = Arm(**content["arm"])
        return constant
    if head["kind"] == MarginalValue.kind:
        marginal = MarginalValue(catalogue, rules)
        marginal.value_ = Value.load(folder)
        return marginal
    if head["kind"] == NextBestAction.kind:
        policy = NextBestAction(catalogue, objective=from_dict(content["objective"]), rules=rules)
        policy.payment_ = _model(content["payment"], folder / "payment")
        named = content["effects"]["model"]
        response = None if named is None else _model(named, folder / "response")
        second = content["effects"]["proceeds"]
        proceeds = None if second is None else _model(second, folder / "proceeds")
        policy.effects_ = Effects.from_dict(content["effects"], response, proceeds)
        policy.harm_ = Harm.from_dict(content["harm"]) if "harm" in content else None
        policy.delays_ = _model("DelayModel", folder / "delays")
        if "outside" in content:
            policy.outside_ = Outside.from_dict(content["outside"])
        return policy
    raise ArtifactError(f"{folder / MARKER}: unknown kind of policy {head['kind']!r}")


def _model(name: str, folder: Path) -> Any:
    from collectopt import models

    if name not in models.__all__ or not hasattr(getattr(models, name), "load"):
        raise ArtifactError(f"{folder}: unknown kind of model {name!r}")
    return getattr(models, name).load(folder)
