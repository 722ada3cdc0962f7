"""Commands about keys: create, list, rotate, revoke; and what was done with them."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from descent.client import Client
from descent.commands.jobs import client
from descent.console import Json, err, out, print_json
from descent.errors import DescentError
from descent.references import find_job
from models.access import Event, Key, NewKey, Scope

app = typer.Typer(no_args_is_help=True, help="Make keys for others, and take them back: for admins.")

Reference = Annotated[
    str, typer.Argument(metavar="KEY", help="Its id, or the beginning of its id.", show_default=False)
]


@app.command()
def create(
    owner: Annotated[
        str, typer.Argument(help="Whose jobs and data sets it sees and makes; keys may share one.", show_default=False)
    ],
    scope: Annotated[Scope, typer.Option(help="How far it reaches.")] = Scope.SUBMIT,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    days: Annotated[
        float | None, typer.Option(min=0.001, help="How long it is valid; for good by default.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key. It is shown this once."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with client() as service:
        made = service.create_key(owner, scope=scope, note=note, expires_at=expires_at)
    _show(made, as_json=as_json)


@app.command("list")
def list_keys(
    owner: Annotated[str | None, typer.Option(help="Only those that act for one owner.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List the keys, newest first; never their secrets."""
    with client() as service:
        found = list(islice(service.keys(owner=owner, page_size=min(limit, 200)), limit))
    if as_json:
        print_json(found)
    elif found:
        out.print(_table(found))
    else:
        out.print("No keys. `descent keys create OWNER` makes one.", highlight=False)


@app.command()
def rotate(
    reference: Reference,
    overlap_hours: Annotated[float, typer.Option(min=0, max=720, help="How long the old secret opens, too.")] = 0,
    as_json: Json = False,
) -> None:
    """Give a key a new secret, which is shown this once."""
    with client() as service:
        key = _find(service, reference)
        made = service.rotate_key(key.id, overlap_seconds=round(overlap_hours * 3600))
    _show(made, as_json=as_json)


@app.command()
def revoke(reference: Reference, as_json: Json = False) -> None:
    """Let a key open nothing any more."""
    with client() as service:
        key = _find(service, reference)
        service.revoke_key(key.id)
    if as_json:
        print_json({"id": key.id, "owner": key.owner, "revoked": True})
    else:
        out.print(f"Key {key.id} of {key.owner} opens nothing any more.", highlight=False, markup=False)


def events(
    reference: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="Of one job: name, id, or its beginning.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List what was done, when and by whom, newest first."""
    with client() as service:
        job = None if reference is None else find_job(service, reference)
        found = list(islice(service.events(job, page_size=min(limit, 200)), limit))
    if as_json:
        print_json(found)
    elif found:
        out.print(_events(found))
    else:
        out.print("Nothing was done yet.")


def _find(service: Client, reference: str) -> Key:
    every = service.keys()
    found = [key for key in every if key.id.startswith(reference)]
    if len(found) == 1:
        return found[0]
    problem = "No key begins" if not found else f"{len(found)} keys begin"
    raise DescentError(f'{problem} with "{reference}". `descent keys list` shows them.')


def _show(made: NewKey, *, as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    # Alone on standard output, so that it can be piped to where it belongs.
    out.print(made.key, soft_wrap=True, highlight=False, markup=False)
    until = f", until {made.expires_at:%Y-%m-%d %H:%M %Z}" if made.expires_at else ""
    err.print(
        f"Acts for {made.owner} with scope {made.scope}{until}. It is not shown again: keep it, and use it with\n"
        f"  export DESCENT_KEY=…",
        style="dim",
        highlight=False,
        markup=False,
    )


def _table(keys: list[Key]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("id", "owner", "scope", "created", "expires", "last used", "note"):
        # `rotate` and `revoke` take an id, which has to be on one line to be copied.
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for key in keys:
        row = [
            key.id,
            key.owner,
            key.scope,
            _day(key.created_at),
            "revoked" if key.revoked_at else _day(key.expires_at) if key.expires_at else "never",
            _day(key.last_used_at) if key.last_used_at else "–",
            key.note,
        ]
        table.add_row(*map(Text, row), style="" if key.is_valid else "dim strike")
    return table


def _day(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""


def _events(found: list[Event]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("when (UTC)", "who", "did", "to", "detail"):
        table.add_column(heading, overflow="fold")
    for event in found:
        told = {name: value for name, value in event.detail.items() if name != "spec_hash" and value not in ("", None)}
        detail = ", ".join(f"{name} {value}" for name, value in told.items())
        when = f"{event.happened_at:%Y-%m-%d %H:%M:%S}"
        action = event.action.replace("_", " ")
        table.add_row(*map(Text, (when, event.actor, action, event.subject_id, detail)))
    return table
