"""``laneway keys``: the file of API keys that a gateway reads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from laneway.cli.exits import Exit, Failure
from laneway.cli.groups import CommandGroup
from laneway.cli.many import on_terminal
from laneway.cli.options import json_option, yes_option
from laneway.cli.output import print_json, print_table
from laneway.cli.params import Checked, seconds
from laneway.kit.names import tenant_name
from laneway.kit.times import moment

if TYPE_CHECKING:
    from laneway.model.apikeys import KeyEntry

_F = TypeVar("_F", bound=Callable[..., Any])
_ROLES = ("viewer", "submitter", "operator", "admin")


def _expiry(text: str) -> datetime:
    """A time, or a duration from now. Raises ValueError."""
    try:
        return datetime.now(UTC) + timedelta(seconds=seconds(text))
    except (ValueError, OverflowError):
        pass
    try:
        when = moment(text)
    except ValueError:
        raise ValueError(
            f"must be a duration such as 2160h, or a time such as 2030-01-31T08:00:00Z, not {text!r}"
        ) from None
    if when <= datetime.now(UTC):
        raise ValueError(f"must be in the future, and {text} is past")
    return when


_EXPIRY = Checked("time or duration", _expiry)
_TENANT = Checked("tenant", tenant_name)

_file_option = click.option(
    "--file", "-f", type=click.Path(dir_okay=False, path_type=Path), required=True, envvar="LANEWAY_KEYS",
    show_envvar=True, help="The file of keys (YAML, or JSON by its name).",
)  # fmt: skip


@click.group(cls=CommandGroup)
def keys() -> None:
    """Make, list and revoke API keys of a gateway.

    They are in a file, of which the gateway is told in the file of --auth (keys: {path: ...}). It reads it again by
    itself whenever it changes. The file has no secrets: a key is shown once, when it is made.

    \b
    Examples:
      laneway keys create -f keys.yaml --name ci --role submitter
      laneway keys list -f keys.yaml
      laneway keys revoke -f keys.yaml ci
    """


@keys.command()
@_file_option
@click.option("--name", required=True, help="Who gets it; logs name it so.")
@click.option("--role", type=click.Choice(_ROLES), required=True, help="What it may do.")
@click.option(
    "--tenant", "tenants", type=_TENANT, multiple=True, help="A tenant to bind it to; may be given several times."
)
@click.option(
    "--payloads/--no-payloads", default=None, help="Whether it shows payloads and results.  [default: by role]"
)
@click.option("--expires", type=_EXPIRY, help="When it ends: a duration from now, or a time.  [default: never]")
@json_option
def create(
    file: Path,
    name: str,
    role: Any,
    tenants: tuple[str, ...],
    payloads: bool | None,
    expires: datetime | None,
    as_json: bool,
) -> int:
    """Make a key, and write its hash into the file.

    The key alone goes to standard output, this once: nothing can show it again.

    \b
    Examples:
      laneway keys create -f keys.yaml --name ci --role submitter
      laneway keys create -f keys.yaml --name acme --role operator --tenant acme --expires 2160h
    """
    from pydantic import ValidationError

    from laneway.adapters.key_file import change_keys
    from laneway.model.apikeys import mint

    try:
        key, entry = mint(name, role, tenants=tenants or None, payloads=payloads, expires=expires)
    except ValidationError as error:
        wrong = "; ".join(str(one.get("ctx", {}).get("error", one["msg"])) for one in error.errors())
        raise click.BadParameter(wrong, param_hint="--name") from None
    change_keys(file, lambda there: [*there, entry])
    if as_json:
        print_json({"key": key, **_shown(entry)})
    else:
        click.echo(
            f"laneway: key {entry.id} of {name} ({role}) is in {file}; this is the only time that it is shown:",
            err=True,
        )
        click.echo(key)
    return 0


@keys.command("list")
@_file_option
@json_option
def list_keys(file: Path, as_json: bool) -> int:
    """List the keys of a file.

    \b
    Examples:
      laneway keys list -f keys.yaml
    """
    found = [_shown(entry) for entry in _read(file)]
    if as_json:
        print_json(found)
        return 0
    print_table(
        ("id", "name", "role", "tenants", "payloads", "created", "expires", "state"),
        [
            (
                one["id"],
                one["name"],
                one["role"],
                ", ".join(one["tenants"]) if one["tenants"] is not None else "all",
                {None: "by role", True: "yes", False: "no"}[one["payloads"]],
                one["created"] or "",
                one["expires"] or "never",
                one["state"],
            )
            for one in found
        ],
    )
    return 0


@keys.command()
@_file_option
@click.argument("key", metavar="ID|NAME")
@yes_option
def revoke(file: Path, key: str, yes: bool) -> int:
    """Revoke a key: gateways refuse it within a second or two.

    By name, all keys of that name are revoked. Their entries stay in the file, so that what the logs name is known.

    \b
    Examples:
      laneway keys revoke -f keys.yaml ci
    """
    from laneway.adapters.key_file import change_keys
    from laneway.model.apikeys import stamp

    meant = [entry for entry in _read(file) if key in (entry.id, entry.name) and entry.revoked is None]
    if not meant:
        raise Failure(Exit.NOT_FOUND, f"{file} has no key {key!r} that is not revoked: laneway keys list -f {file}")
    if not yes and not on_terminal():
        raise click.UsageError("there is no terminal to ask on: add --yes to revoke it")
    if not yes:
        named = ", ".join(f"{entry.id} of {entry.name} ({entry.role})" for entry in meant)
        click.confirm(f"Revoke {named}?", abort=True, err=True)
    ids, at = {entry.id for entry in meant}, stamp(datetime.now(UTC))

    def change(there: list[KeyEntry]) -> list[KeyEntry]:
        return [entry.model_copy(update={"revoked": at}) if entry.id in ids else entry for entry in there]

    change_keys(file, change)
    click.echo(f"laneway: revoked {', '.join(sorted(ids))}", err=True)
    return 0


def _read(file: Path) -> list[KeyEntry]:
    from laneway.adapters.auth_files import load_keys

    if not file.exists():
        raise Failure(Exit.NOT_FOUND, f"there is no file {file}: laneway keys create makes it")
    return load_keys(file).keys


def _shown(entry: KeyEntry) -> dict[str, Any]:
    state = "in force"
    if entry.revoked is not None:
        state = f"revoked {entry.revoked}"
    elif entry.expires is not None and moment(entry.expires) <= datetime.now(UTC):
        state = "expired"
    return {**entry.model_dump(exclude={"hash", "revoked"}), "state": state}
