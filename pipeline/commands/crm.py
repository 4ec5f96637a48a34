"""`leadsieve crm`: making in the CRM, once, what scores are written to."""

from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress, say
from pipeline.config import Config, load_config, read_environment
from pipeline.errors import ConfigError, GateError
from pipeline.field_values import check_write_back

if TYPE_CHECKING:
    from pipeline.adapters.odoo_install import OdooInstaller

app = typer.Typer(help="Make in the CRM, once, what scores are written to.", no_args_is_help=True)

Rows = list[dict[str, str]]


@app.callback()
def crm() -> None:
    """Make in the CRM, once, what scores are written to."""


@app.command()
def install(
    config: ConfigOption,
    admin_key_env: Annotated[
        str, typer.Option("--admin-key-env", help="Variable with an administrator's API key; Odoo only.")
    ] = "ODOO_ADMIN_KEY",
    user: Annotated[
        str | None, typer.Option("--user", help="Login of the nightly user, who gets the rights it needs; Odoo only.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only tell what is missing; exit code 1 if anything is.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make the fields, views, rights and tables that the write-back needs. Safe to run again."""
    settings = load_config(config)
    section = check_write_back(settings)
    if section.adapter == "odoo":
        place, rows = _install_in_odoo(settings, admin_key_env, user, check)
    elif user:
        raise ConfigError(
            f"--user is for Odoo, and write_back.adapter is '{section.adapter}'. Grant rights in the database."
        )
    else:
        place, rows = _install_in_database(settings, check)
    left = [row for row in rows if row["state"] in ("missing", "differs")]
    if as_json:
        print_json({"crm": place, "complete": not left, "pieces": rows})
    else:
        _show(place, rows)
    if left:
        raise GateError(
            f"{place} lacks {len(left)} of {len(rows)} pieces, or has them otherwise. "
            "Make them: `leadsieve crm install` without --check."
        )


def _install_in_odoo(settings: Config, key_env: str, user: str | None, check: bool) -> tuple[str, Rows]:
    """Make or look at what Odoo needs; returns its name and the state of every piece."""
    from pipeline.adapters.odoo_client import OdooClient
    from pipeline.adapters.odoo_install import OdooInstaller

    section = check_write_back(settings)
    url = read_environment(str(section.url_env), "the address of the Odoo that scores go to")
    key = read_environment(key_env, "the API key of an administrator of Odoo, needed this once")
    with closing(OdooClient(url, str(section.database), key)) as client:
        installer = OdooInstaller(client, settings)
        if user:
            installer.find_user(user)  # a name that is not known stops it before anything is made
        with progress.status("Looking into Odoo ..." if check else "Making what is missing ..."):
            found = installer.look() if check else installer.install()
            rows = [{"piece": one.piece.title, "state": str(one.state)} for one in found]
            if user:
                rows.append({"piece": f"user '{user}' in that group", "state": _add_user(installer, user, check)})
    return client.place, rows


def _add_user(installer: "OdooInstaller", user: str, check: bool) -> str:
    """Put the nightly user into its group; returns what became of that."""
    if installer.is_member(user):
        return "there"
    if check:
        return "missing"
    installer.add_member(user)
    return "made"


def _install_in_database(settings: Config, check: bool) -> tuple[str, Rows]:
    """Make or look at the tables of our own in a database."""
    from pipeline.sql_install import install_tables

    return install_tables(settings, check)


def _show(place: str, rows: Rows) -> None:
    """Print what is there and what was made."""
    say(place)
    table = Table("piece", "state", box=None)
    for row in rows:
        table.add_row(row["piece"], row["state"])
    answer.print(table)
    counts: dict[str, Any] = {}
    for row in rows:
        counts[row["state"]] = counts.get(row["state"], 0) + 1
    say(", ".join(f"{count:,} {state}" for state, count in counts.items()) if rows else "Nothing of our own is needed.")
