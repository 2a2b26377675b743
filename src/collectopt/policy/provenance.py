"""What a run was made of: versions and hashes of everything that decided."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from collectopt import __version__
from collectopt.policy.base import Policy
from collectopt.rules.packs import digest
from collectopt.schema.ledger import Ledger


def provenance(policy: Policy, ledger: Ledger, as_of: np.datetime64, seed: int) -> dict[str, Any]:
    """Say what a run is made of, for the note that is kept with its decisions.

    Parameters
    ----------
    policy : Policy
        Fitted.
    ledger : Ledger
    as_of : numpy.datetime64
        UTC.
    seed : int
        Of the exploration.

    Returns
    -------
    dict
        Ready for JSON: fingerprint (of the book), policy_version, policy (its kind), models (kind
        by name), rules (jurisdiction, pack: hash of its data, codes of the permissions), catalogue
        (hash), as_of, seed, collectopt (version of the library).

    Raises
    ------
    NotFittedError

    Examples
    --------
    >>> import collectopt as co, numpy as np
    >>> book = co.simulation.Book("shop", accounts=20, seed=1, weeks=4)
    >>> ladder = co.FixedLadder(book.catalogue)
    >>> made = provenance(ladder, book.ledger(), np.datetime64("2026-01-01"), seed=7)
    >>> made["policy"], made["seed"], made["rules"]["jurisdiction"]
    ('fixed_ladder', 7, 'none')
    """
    catalogue = policy.catalogue
    return {
        "fingerprint": ledger.fingerprint,
        "policy_version": policy.version,
        "policy": policy.kind,
        "models": policy.kinds(),
        "rules": {
            "jurisdiction": catalogue.jurisdiction,
            "pack": digest(catalogue.jurisdiction),
            "codes": list(policy.rules.codes),
        },
        "catalogue": _hash(catalogue.to_dict()),
        "as_of": f"{as_of}Z",
        "seed": seed,
        "collectopt": __version__,
    }


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
