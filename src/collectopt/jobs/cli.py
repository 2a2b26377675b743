"""The command line: thin commands over the tasks.

Exit codes: 0 done; 1 bad input, nothing written; 2 misspelt command or option; 3 done, but some
accounts fell back to waiting.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.status import Status
from rich.table import Table

from collectopt import __version__
from collectopt.exceptions import CollectoptError, InputError

if TYPE_CHECKING:
    from collectopt.jobs.tasks import Summary
    from collectopt.schema.catalogue import Catalogue

OK, BAD_INPUT, FELL_BACK = 0, 1, 3

app = typer.Typer(
    name="collectopt",
    help="Calibrated payment predictions and the next-best action for every account.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Book = Annotated[Path, typer.Argument(help="Folder with accounts.parquet, invoices.parquet, ...")]
Model = Annotated[Path, typer.Option("--model", help="Folder of a saved policy.")]
Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON and nothing else.")]
AsOf = Annotated[str, typer.Option("--as-of", help="Date, or time with offset: 2026-11-21T06:00Z.")]
Config = Annotated[
    Path | None,
    typer.Option("--config", help="Catalogue of actions (TOML); without it, the library's own."),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random choices.")]


class Screen:
    """Shows steps on stderr, so that stdout carries results alone."""

    def __init__(self, *, quiet: bool) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._status: Status | None = None
        self._text = ""

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show a spinner with `text` while the block runs."""
        with self._console.status(f"{text} ...") as self._status:
            self._text = text
            yield
        self._status = None
        self._console.print(f"[green]done[/green] {text}", highlight=False)

    def tick(self, done: int, total: int, name: str) -> None:
        """Say how far the step has come."""
        if self._status is not None:
            self._status.update(f"{self._text} ... {done} of {total}, {name}")


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"collectopt {__version__}")
        raise typer.Exit(OK)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder for book, policy, report.")] = Path(
        "demo"
    ),
    accounts: Annotated[int, typer.Option(min=50, max=100_000, help="Accounts.")] = 6_000,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Simulate a book, train, decide, and write demo/report.html."""
    from collectopt.jobs.demo import run

    result = run(out, accounts=accounts, seed=seed, progress=Screen(quiet=as_json))
    if as_json:
        typer.echo(json.dumps(result.facts))
        return
    console = Console()
    for table in result.tables:
        console.print(_table(table.title, table.columns, table.rows))
    console.print(f"\nOpen [bold]{result.facts['report']}[/bold] in a browser.", highlight=False)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("collections.toml"),
    jurisdiction: Annotated[
        str, typer.Option(help="Law to obey: de, eu, us_regf, uk_conc, none.")
    ] = "none",
    templates: Annotated[
        str, typer.Option(help="Write texts to start from, too: de, en or de,en.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    as_json: Json = False,
) -> None:
    """Write a complete catalogue with comments, to be made one's own."""
    from collectopt.jobs.starting import init as write

    facts = write(file, jurisdiction, languages=templates, force=force)
    if as_json:
        typer.echo(json.dumps({"command": "init", **facts}))
        return
    typer.echo(f"Wrote {file}. Change what differs in your house; every key is explained there.")
    typer.echo(f"Check it against your book: collectopt validate BOOK --config {file}")


@app.command()
def validate(book: Book, config: Config = None, as_json: Json = False) -> None:
    """Check a book and list every fault."""
    from collectopt.jobs.checking import consents
    from collectopt.jobs.tasks import quality, read_book

    catalogue = _catalogue(config) if config else None
    ledger = read_book(book, catalogue)
    strict = () if catalogue is None else consents(ledger, catalogue)
    remarks = [str(remark) for remark in (*ledger.remarks, *strict)]
    facts = {"command": "validate", "valid": True, "fingerprint": ledger.fingerprint}
    found = None if catalogue is None else quality(ledger, catalogue)
    if found is not None:
        facts["data_quality"] = found
    sizes = {name: len(ledger.table(name)) for name in _TABLES}
    if as_json:
        typer.echo(json.dumps({**facts, "rows": sizes, "remarks": remarks}))
        return
    rows = [[name, f"{size:,}"] for name, size in sizes.items()]
    Console().print(_table("The book is sound", ["table", "rows"], rows))
    for remark in remarks:
        typer.echo(f"remark: {remark}")
    if found is not None:
        typer.echo(f"data quality: {_text(found)}")


@app.command()
def train(
    book: Book,
    as_of: AsOf,
    out: Annotated[Path, typer.Option("--out", help="Folder for the policy.")],
    config: Config = None,
    track: Annotated[
        str | None, typer.Option("--track", help="MLflow URI, such as sqlite:///mlflow.db.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit the payment model and the next-best-action policy, and save them."""
    from collectopt.jobs import tasks

    summary = tasks.train(
        book,
        out,
        catalogue=_catalogue(config),
        as_of=as_of,
        track=track,
        progress=Screen(quiet=as_json),
    )
    _finish(summary, as_json=as_json)


@app.command()
def decide(
    book: Book,
    model: Model,
    as_of: AsOf,
    out: Annotated[Path, typer.Option("--out", help="Parquet file for the decisions.")],
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Keep OUT if it holds exactly this run: book, policy, time, seed."
        ),
    ] = False,
    overrides: Annotated[
        Path | None,
        typer.Option(
            "--overrides",
            help="What people decided: CSV or parquet with account_id, kind (force, forbid, amend, "
            "tone_offset, approve), reason, owner, from_on, until, and what it is about: action, "
            "channel, tone, offer, new_tone, new_offer, steps.",
        ),
    ] = None,
    records: Annotated[
        Path | None,
        typer.Option("--records", help="Folder of records to which the run is added, for ever."),
    ] = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Decide for every account with an open claim."""
    from collectopt.jobs import tasks

    summary = tasks.decide(
        book,
        model,
        out,
        as_of=as_of,
        seed=seed,
        resume=resume,
        overrides=overrides,
        records=records,
        progress=Screen(quiet=as_json),
    )
    _finish(summary, as_json=as_json)


@app.command()
def messages(
    decisions: Annotated[Path, typer.Argument(help="File of decisions.")],
    book: Annotated[Path, typer.Option("--book", help="Folder of the book.")],
    out: Annotated[Path, typer.Option("--out", help="Parquet file for the messages.")],
    config: Config = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="Folder of the policy; its catalogue where none is given."),
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="What is known; default: when it was decided.")
    ] = None,
    language: Annotated[str, typer.Option(help="Where the customer's is not known.")] = "en",
    payment_link: Annotated[
        str, typer.Option(help="Such as https://pay.example/{account_id}/{decision_id}.")
    ] = "{payment_link}",
    contact: Annotated[str, typer.Option(help="How to get in touch.")] = "{contact}",
    creditor: Annotated[str, typer.Option(help="Who writes.")] = "{creditor}",
    as_json: Json = False,
) -> None:
    """Write the message of every contact: template, text, what is open to the cent."""
    from collectopt.jobs.messaging import Filled
    from collectopt.jobs.messaging import messages as write
    from collectopt.policy import load

    summary = write(
        decisions,
        book,
        out,
        catalogue=load(model).catalogue if model and not config else _catalogue(config),
        filled=Filled(language, payment_link, contact, creditor),
        as_of=as_of,
        progress=Screen(quiet=as_json),
    )
    _finish(summary, as_json=as_json)


@app.command()
def replay(
    decision_id: Annotated[str, typer.Argument(help="As it stands in the decisions.")],
    decisions: Annotated[
        Path, typer.Option("--decisions", help="File of decisions, or a folder of such files.")
    ],
    book: Annotated[Path, typer.Option("--book", help="Folder of the book.")],
    model: Model,
    as_json: Json = False,
) -> None:
    """Make a decision again and say whether it comes out the same, and why it was made."""
    from collectopt.jobs.replaying import replay as again

    found = again(decision_id, decisions, book, model, progress=Screen(quiet=as_json))
    if as_json:
        facts = {
            "command": "replay",
            "decision_id": found.decision_id,
            "same": found.same,
            "book_is_same": found.book_is_same,
            "inputs_changed": found.inputs,
            "versions_changed": found.versions,
            "differences": {k: [str(v) for v in pair] for k, pair in found.differences.items()},
            **found.run,
        }
        typer.echo(json.dumps(facts))
    else:
        typer.echo(str(found.explanation))
        made = f"Made as of {found.run['as_of']} with seed {found.run['seed']}, {found.file}."
        typer.echo(made)
        for sentence in found.changes():
            typer.echo(sentence)
        for name, (then, now) in found.differences.items():
            typer.echo(f"  {name}: then {then!r}, now {now!r}")
        typer.echo("The same, byte for byte." if found.same else "It comes out another one.")
    raise typer.Exit(OK if found.same else BAD_INPUT)


@app.command()
def evaluate(
    book: Book,
    model: Model,
    out: Annotated[Path, typer.Option("--out", help="HTML file for the report.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="End of what is known; default: the last fact.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Test the payment model on earlier cuts and write one HTML report."""
    from collectopt.jobs import tasks

    summary = tasks.evaluate(book, model, out, as_of=as_of, progress=Screen(quiet=as_json))
    _finish(summary, as_json=as_json)


@app.command()
def simulate(
    kind: Annotated[str, typer.Option(help="Kind of book, such as shop or placebo.")] = "shop",
    weeks: Annotated[int, typer.Option(min=1, max=520, help="Weeks to live on.")] = 26,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="Folder of a saved policy.")
    ] = None,
    accounts: Annotated[int, typer.Option(min=1, max=999_999, help="Accounts.")] = 1_000,
    seed: Seed = 0,
    seeds: Annotated[int, typer.Option(min=1, max=1_000, help="Replicates, other luck.")] = 1,
    out: Annotated[Path | None, typer.Option("--out", help="Write an HTML report too.")] = None,
    as_json: Json = False,
) -> None:
    """Let a saved policy and the fixed ladder live in the same simulated world."""
    from collectopt.jobs import tasks

    result = tasks.simulate(
        kind,
        policy,
        out,
        weeks=weeks,
        accounts=accounts,
        seed=seed,
        seeds=seeds,
        progress=Screen(quiet=as_json),
    )
    if not as_json:
        typer.echo(str(result))
        return
    facts = {"command": "simulate", "kind": kind, "accounts": accounts, "weeks": weeks}
    facts |= {"seed": seed, "seeds": seeds, "simulated": True}
    rows = json.loads(result.to_pandas().to_json(orient="records"))
    differences = json.loads(result.difference().to_json(orient="records"))
    typer.echo(json.dumps({**facts, "rows": rows, "differences": differences}))


_TABLES = ("accounts", "invoices", "payments", "contacts", "responses", "holds")


def _catalogue(path: Path | None) -> Catalogue:
    from collectopt.rules.rules import Rules
    from collectopt.schema.catalogue import Catalogue

    catalogue = Catalogue.default() if path is None else Catalogue.from_toml(path)
    Rules.from_catalogue(catalogue)  # an unknown jurisdiction is told before anything runs
    return catalogue


def _finish(summary: Summary, *, as_json: bool) -> None:
    """Print the summary; say on stderr how many accounts fell back, and why."""
    if as_json:
        typer.echo(json.dumps({**summary.facts, "fallbacks": summary.fallbacks}))
    else:
        rows = [[key, _text(value)] for key, value in summary.facts.items()]
        Console().print(_table(None, ["", ""], rows))
    for remark in summary.remarks:
        typer.echo(f"remark: {remark}", err=True)
    if summary.fallbacks:
        for reason, count in summary.fallbacks.items():
            typer.echo(f"{count} accounts wait: {reason}", err=True)
        raise typer.Exit(FELL_BACK)


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(entry)}" for key, entry in value.items())
    return f"{value:,.3f}" if isinstance(value, float) else str(value)


def _table(title: str | None, columns: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=any(columns))
    for i, column in enumerate(columns):
        left = i == 0 or not any(columns)
        # folded, not cut: a fingerprint or an identifier has to be copied
        table.add_column(column, justify="left" if left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def main() -> None:
    """Run the command line; errors of the library end it with one message and exit code 1."""
    try:
        app()
    except CollectoptError as error:
        if "--json" in sys.argv:
            faults = [vars(f) for f in error.faults] if isinstance(error, InputError) else []
            typer.echo(json.dumps({"error": str(error), "faults": faults}))
        typer.echo(f"collectopt: {error}", err=True)
        sys.exit(BAD_INPUT)
    except OSError as error:
        typer.echo(f"collectopt: {error.strerror or error}: {error.filename or ''}", err=True)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
