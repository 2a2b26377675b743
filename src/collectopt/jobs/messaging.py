"""From a file of decisions to a file of messages."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from collectopt.exceptions import InputError
from collectopt.jobs.tasks import RUN, Progress, Summary, check_file, read_book
from collectopt.messages.composing import compose
from collectopt.messages.filling import starter_templates
from collectopt.policy.templating import learn_templates
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.decisions import SCHEMA, Decisions


@dataclass(frozen=True)
class Filled:
    """What is filled into messages; see :func:`collectopt.messages.compose`."""

    language: str = "en"
    payment_link: str = "{payment_link}"
    contact: str = "{contact}"
    creditor: str = "{creditor}"


def messages(
    decisions: Path,
    book: Path,
    out: Path,
    *,
    catalogue: Catalogue,
    filled: Filled,
    progress: Progress,
    as_of: str | None = None,
) -> Summary:
    """Write the messages of a file of decisions; templates are chosen by what the log shows.

    Parameters
    ----------
    decisions : Path
        A file that ``collectopt decide`` wrote.
    book : Path
    out : Path
        Parquet file; it appears whole or not at all.
    catalogue : Catalogue
    filled : Filled
    progress : Progress
    as_of : str or None
        None: the time of the decisions.

    Returns
    -------
    Summary

    Raises
    ------
    InputError
    """
    check_file(out)
    with progress.step("reading"):
        made, told, seed = _read(decisions)
        when = as_of or told
        if when is None:
            hint = "Name the time with --as-of."
            raise InputError.of(
                str(decisions),
                None,
                expected="decisions of the command decide",
                found="a file that does not say when it was made",
                hint=hint,
            )
        ledger = read_book(book, catalogue)
    templates = catalogue.templates or starter_templates()
    with progress.step("learning from templates"):
        effects = learn_templates(ledger, when, catalogue, templates)
    with progress.step("writing the messages"):
        found = compose(
            made, ledger, catalogue, as_of=when, effects=effects, seed=seed, **asdict(filled)
        )
        found.to_parquet(out)
    bare = found.table["template"].null_count
    facts = {
        "command": "messages",
        "as_of": when,
        "messages": len(found),
        "without_template": bare,
        "templates_learnt_from": int(effects.contacts.sum()),
        "total": float(sum(found.table["total"].to_pylist())),
        "out": str(out),
    }
    return Summary(facts)


def _read(file: Path) -> tuple[Decisions, str | None, int]:
    """Read decisions, the time they were made for, and their seed."""
    try:
        table = pq.read_table(file)
        run = json.loads((table.schema.metadata or {}).get(RUN, b"{}")).get("run", {})
        made = Decisions(table.replace_schema_metadata(None).select(SCHEMA.names).cast(SCHEMA))
    except (OSError, pa.ArrowException, KeyError) as error:
        raise InputError.of(
            str(file), None, expected="a file of decisions", found=str(error)[:80]
        ) from None
    return made, run.get("as_of"), int(run.get("seed", 0))
