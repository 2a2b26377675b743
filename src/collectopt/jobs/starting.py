"""The first file of a newcomer: a catalogue with every key explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from collectopt.exceptions import InputError
from collectopt.messages.filling import starter_templates
from collectopt.rules.rules import Rules
from collectopt.schema.atomic import atomic_file
from collectopt.schema.catalogue import Catalogue
from collectopt.schema.starter import starter
from collectopt.schema.templates import Template


def init(
    file: Path, jurisdiction: str = "none", *, languages: str = "", force: bool = False
) -> dict[str, Any]:
    """Write a catalogue to start from; it appears whole or not at all.

    Parameters
    ----------
    file : Path
    jurisdiction : str
        Law to obey; "none" = house rules alone.
    languages : str
        Of the templates to write, parted by commas, such as "de,en"; empty = none.
    force : bool
        Replace a file that exists.

    Returns
    -------
    dict
        What was written.

    Raises
    ------
    InputError
        The file exists, is a folder, or there is no such jurisdiction or language.
    """
    if file.is_dir() or (file.exists() and not force):
        found = "a folder" if file.is_dir() else "a file"
        hint = "" if file.is_dir() else "Take another name, or --force to replace it."
        raise InputError.of(str(file), None, expected="a new file", found=found, hint=hint)
    text = starter(jurisdiction, _templates(languages))
    catalogue = Catalogue.from_text(text, source=str(file))
    Rules.from_catalogue(catalogue)
    with atomic_file(file) as part:
        part.write_text(text, encoding="utf-8")
    facts = {"file": str(file), "jurisdiction": jurisdiction, "actions": len(catalogue.actions)}
    return {**facts, "templates": len(catalogue.templates)}


def _templates(languages: str) -> list[Template]:
    wanted = [name.strip() for name in languages.split(",") if name.strip()]
    known = sorted({template.language for template in starter_templates()})
    unknown = [name for name in wanted if name not in known]
    if unknown:
        expected = f"some of {', '.join(known)}"
        raise InputError.of("init", "templates", expected=expected, found=repr(unknown[0]))
    return [template for template in starter_templates() if template.language in wanted]
