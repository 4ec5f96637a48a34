"""The sections of a config that say where the CRM's tables are read."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from features.tables import TABLES
from pipeline.config_section import Section
from pipeline.config_write_back import EnvironmentName


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


Moment = Annotated[datetime, AfterValidator(_to_utc)]


class OdooModel(Section):
    """One model of Odoo that the SELECTs read, as a table with underscores for the dots of its name."""

    model: str | None = Field(None, description="the model, where the entry has a name of its own; default: that name")
    fields: tuple[str, ...] = Field(min_length=1, description="fields that are read, beside `id`")
    domain: tuple[Any, ...] = Field((), description="which records, as Odoo writes it: [[state, '=', sale]]")
    archived: bool = Field(True, description="archived records too: Odoo archives what is lost or no longer used")
    optional: bool = Field(False, description="an empty table where the model is not installed, or not to be read")
    rows_of: str | None = Field(
        None, description="the table of which each row is one of these records, so that only changed ones are read"
    )


class Source(Section):
    """Where the CRM's tables are read."""

    adapter: Literal["files", "sql", "odoo"]
    folder_env: EnvironmentName | None = Field(
        None, description="files: environment variable that holds the data folder"
    )
    folder: Path | None = Field(None, description="files: the data folder, when it is no secret and fixed")
    url_env: EnvironmentName | None = Field(
        None, description="environment variable that holds the SQLAlchemy URL, or the address of Odoo"
    )
    sqlite: Path | None = Field(None, description="sql: path of a SQLite file, used when url_env is not set")
    database: str | None = Field(None, description="odoo: name of its database")
    key_env: EnvironmentName | None = Field(None, description="odoo: environment variable that holds the API key")
    models: dict[str, OdooModel] = Field({}, description="odoo: the models that the SELECTs of the tables read")
    data_end: Moment | None = Field(None, description="the source's 'now' (UTC), required for files")
    data_end_select: str | None = Field(None, description="sql: a SELECT that returns the source's 'now' in UTC")
    orphan_share: float = Field(0.05, ge=0, le=1, description="share of rows with an unknown key that is tolerated")
    bad_share: float = Field(0.01, ge=0, lt=1, description="share of a table's rows that may go to the quarantine")
    shrink_share: float = Field(0.5, ge=0, le=1, description="share of a table's rows whose loss stops the extract")
    overlap_minutes: int = Field(60, ge=0, description="how far an incremental read looks back before the last extract")
    sweep_days: int = Field(7, ge=0, description="days between full sweeps of the keys of tables read incrementally")

    def check_changes(self, modified_at: Mapping[str, str | None]) -> None:
        """Check that what says which rows of Odoo changed is said in both places.

        Parameters
        ----------
        modified_at : mapping of table to str or None
            Column of each table that says when a row last changed.

        """
        owners = {one.rows_of for one in self.models.values() if one.rows_of}
        for table in sorted(owners):
            if modified_at.get(table) is None:
                raise ValueError(
                    f"models has rows_of: {table}, and tables.{table} has no modified_at. Deliver the model's "
                    "write_date there and name it in modified_at, or remove rows_of"
                )
        for table, column in modified_at.items():
            if self.adapter == "odoo" and column is not None and table not in owners:
                raise ValueError(
                    f"tables.{table} has modified_at, and no model says rows_of: {table}. Say it of the model whose "
                    "write_date is delivered, or remove modified_at: the table is read in full"
                )

    @model_validator(mode="after")
    def _check_place(self) -> "Source":
        if self.adapter == "files" and not (self.folder or self.folder_env):
            raise ValueError("adapter 'files' needs folder or folder_env")
        if self.adapter == "files" and self.data_end is None:
            raise ValueError("adapter 'files' needs data_end, the moment at which the files were written (UTC)")
        if self.adapter == "sql" and not (self.sqlite or self.url_env):
            raise ValueError("adapter 'sql' needs sqlite or url_env")
        if self.adapter == "odoo":
            self._check_odoo()
        elif self.models:
            raise ValueError(f"models is for adapter 'odoo', and the adapter is '{self.adapter}'. Remove it")
        return self

    def _check_odoo(self) -> None:
        if not (self.url_env and self.database and self.key_env and self.models):
            raise ValueError("adapter 'odoo' needs url_env, database, key_env and models")
        tables = [name.replace(".", "_") for name in self.models]
        for table in tables:
            if tables.count(table) > 1:
                raise ValueError(f"models has two entries for the table '{table}'. Rename one and say its `model`")
        owners = [one.rows_of for one in self.models.values() if one.rows_of]
        for owner in owners:
            if owner not in TABLES or TABLES[owner].key is None or owners.count(owner) > 1:
                raise ValueError(
                    f"models has rows_of: {owner}, which must be one of "
                    f"{', '.join(name for name, spec in TABLES.items() if spec.key)}, each for one model at most"
                )
