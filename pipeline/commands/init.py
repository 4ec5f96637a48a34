"""`leadsieve init`: draft a config from a source."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from pipeline.commands.options import progress
from pipeline.config import load_config, read_environment
from pipeline.errors import ConfigError


def init(
    source: Annotated[str | None, typer.Option("--source", help="files or sqlite; not needed with --url-env.")] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="files: folder with CSV or Parquet files.")] = None,
    path: Annotated[Path | None, typer.Option("--path", help="sqlite: path of the file.")] = None,
    url_env: Annotated[
        str | None, typer.Option("--url-env", help="Environment variable that holds an SQLAlchemy URL.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the draft here; default: print it.")] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the deployment: letters, digits and _.")] = "mycrm",
) -> None:
    """Draft a commented config from files (--folder DIR) or a database (--path FILE, --url-env NAME)."""
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists already. Pass another file with --out, or remove it first.")
    draft = _draft(source, folder, path, url_env, name)
    with tempfile.TemporaryDirectory(prefix="leadsieve-") as checked:
        copy = Path(checked) / "draft.yaml"
        copy.write_text(draft, encoding="utf-8")
        load_config(copy)
    if out is None:
        typer.echo(draft, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(draft, encoding="utf-8")
    progress.print(
        f"{out} written. Look at every CHECK in it, then run `leadsieve extract --dry-run --config {out}`.",
        soft_wrap=True,
        markup=False,
    )


def _draft(source: str | None, folder: Path | None, path: Path | None, url_env: str | None, name: str) -> str:
    from pipeline.init import as_yaml, check_names, draft_from_database, draft_from_files

    check_names(name, url_env)
    given = [option for option in (folder, path, url_env) if option is not None]
    expected = {"files": folder, "sqlite": path}
    if len(given) != 1 or source not in (None, *expected) or (source and expected[source] is None):
        raise ConfigError(
            "init needs one source. Pass `--source files --folder DIR`, `--source sqlite --path FILE` or "
            "`--url-env NAME`; for Odoo, copy configs/odoo.yaml."
        )
    if folder is not None:
        with tempfile.TemporaryDirectory(prefix="leadsieve-") as spill:
            return draft_from_files(folder, name, Path(spill) / "spill")
    if path is not None:
        return draft_from_database(path, name, [f"  sqlite: {as_yaml(str(path))}"])
    variable = str(url_env)
    url = read_environment(variable, "the SQLAlchemy URL of the CRM")
    if url.lower().startswith(("http://", "https://")):
        raise ConfigError(
            f"{variable} holds a web address, and init drafts from files and databases (address not shown). Odoo's "
            "models are the same everywhere: copy configs/odoo.yaml and look at every CHECK in it."
        )
    return draft_from_database(url, name, [f"  url_env: {variable}"])
