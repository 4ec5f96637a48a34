"""The sections of a config that say where scores go, and what people are told in the CRM."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, model_validator

from pipeline.config_section import Section


def check_environment_name(name: str) -> str:
    """Refuse a value where the name of a variable belongs; it may be a secret, so it is not shown."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            "this key names an environment variable and holds something else (not shown, it may be a secret). "
            "Put the value into the environment and its name here, such as CRM_URL"
        )
    return name


EnvironmentName = Annotated[str, AfterValidator(check_environment_name)]


class FieldMap(Section):
    """The CRM table and fields that the scores of one target are written to."""

    target: str = Field(description="the table of the CRM")
    key: str = Field(description="its column with the id of the entity")
    fields: dict[str, str] = Field(
        description="CRM field: probability | points | grade | reasons_en | reasons_zh | ..."
    )
    decimals: int = Field(4, ge=0, le=12, description="numbers are rounded to this before diff, write and ledger")
    epsilon: float = Field(
        0.0,
        ge=0,
        description="a record whose numbers all change by less, and whose texts do not (reasons, as_of and run_id "
        "aside), is skipped",
    )


class ScoreHistory(Section):
    """The table or model of our own that keeps every score."""

    table: str = Field("leadsieve_scores", description="sql: the table; odoo: the model is x_lead_score")


class FollowUps(Section):
    """The tasks that people get where a card raises a flag."""

    flags: dict[str, tuple[str, ...]] = Field(
        min_length=1, description="target: the flags of its card that somebody should look after"
    )
    due_days: int = Field(3, ge=0, description="days after the run by which a task should be done")
    table: str = Field("leadsieve_follow_ups", description="sql: the table of our own that holds the tasks")
    owner_field: str | None = Field(None, description="sql: the column of the CRM's tables that names a record's owner")
    language: Literal["en", "zh"] = Field("en", description="language of the tasks")


class WriteBack(Section):
    """Where scores go."""

    adapter: Literal["sql", "odoo"] = "sql"
    url_env: EnvironmentName | None = Field(
        None, description="environment variable that holds the SQLAlchemy URL, or the address of Odoo"
    )
    sqlite: Path | None = Field(None, description="sql: a SQLite file, used when url_env is not set")
    database: str | None = Field(None, description="odoo: name of its database")
    key_env: EnvironmentName | None = Field(None, description="odoo: environment variable that holds the API key")
    owned_fields: dict[str, tuple[str, ...]] = Field(
        {}, description="CRM table: its fields that are ours; a field that is mapped and not here is refused"
    )
    batch_rows: PositiveInt | None = Field(
        None,
        description="records per batch; default: as many as the CRM takes well, 10,000 in a database, 1,000 in Odoo",
    )
    max_requests: PositiveInt | None = Field(
        None, description="requests to the CRM that one run may send; what is left waits for the next run"
    )
    insert_missing: bool = Field(False, description="add rows the CRM table lacks (a table of our own)")
    tables: dict[str, FieldMap]
    history: ScoreHistory | None = Field(None, description="keep every score in a table or model of our own")
    follow_ups: FollowUps | None = Field(None, description="tasks where a card raises a flag")

    @model_validator(mode="after")
    def _check_place(self) -> "WriteBack":
        if self.adapter == "sql":
            if not (self.sqlite or self.url_env):
                raise ValueError("write_back needs sqlite or url_env")
            return self
        if not (self.url_env and self.database and self.key_env):
            raise ValueError("write_back with adapter 'odoo' needs url_env, database and key_env")
        if self.insert_missing or self.sqlite:
            raise ValueError("write_back with adapter 'odoo' cannot have insert_missing or sqlite. Remove them")
        return self
