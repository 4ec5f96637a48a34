"""Making in Odoo, once and as an administrator, what the nightly job needs and what people see.

What is there is found by its external id (`leadsieve.*`), or else by its name, so that it does not matter how
often this runs or where it was stopped.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from pipeline.adapters.odoo_client import OdooClient, OdooRefusal
from pipeline.adapters.odoo_own import MODULE, QUIET, find_ids, read_where
from pipeline.adapters.odoo_piece import Piece, agree, write_commands
from pipeline.adapters.odoo_pieces import ADMINISTRATORS, GROUP, HISTORY_LABELS, list_pieces
from pipeline.adapters.odoo_unique import UNIQUE, forbid_doubles
from pipeline.adapters.target import FieldKind
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.field_values import nearest

State = Literal["there", "missing", "differs", "made", "changed"]

CHINESE = "zh_CN"

ARCH = "arch_db"
"""Field of a view with its texts, which are translated one by one."""

OPTIONAL_MODELS = ("crm.lead", "res.partner", "sale.order", "account.move", "account.move.line")
"""Models that rights are given to where an app has brought them."""

_REFERENCE = re.compile(r"@\{([^}]+)\}")
_HOLDS: Mapping[FieldKind, frozenset[str]] = {
    "number": frozenset({"float", "monetary", "integer", "char", "text"}),
    "integer": frozenset({"float", "monetary", "integer", "char", "text"}),
    "text": frozenset({"char", "text"}),
    "time": frozenset({"datetime", "date", "char", "text"}),
}


@dataclass(frozen=True)
class Found:
    """One piece, its id if it is there, and what is or became of it."""

    piece: Piece
    state: State
    record: int | None = None


class OdooInstaller:
    """What a deployment needs in Odoo: looking for it, and making it.

    Parameters
    ----------
    client : OdooClient
        Odoo, as an administrator.
    config : Config
        The deployment.

    """

    def __init__(self, client: OdooClient, config: Config) -> None:
        self._client = client
        self._config = config
        self._ids: dict[str, int | None] = {}
        self._named: dict[str, int] = {}
        self._stale: dict[str, int] = {}
        self._chinese = bool(self._find("res.lang", [("code", "=", CHINESE), ("active", "=", True)]))

    def look(self) -> list[Found]:
        """Tell what is there and what is not; nothing is written.

        Raises
        ------
        ConfigError
            If the user is no administrator, or a field of that name is there and cannot hold its value.

        """
        if not self._client.call("ir.model.fields", "has_access", ids=[], operation="create", context=QUIET):
            raise ConfigError(
                f"{self._client.place}: the user of this key may not make fields. Use the key of an administrator "
                "(group 'Settings'); it is needed this once and kept nowhere."
            )
        self._read_names()
        return [self._look(piece) for piece in self._list_pieces()]

    def install(self, advance: Callable[[Found], None] = lambda found: None) -> list[Found]:
        """Make what is missing and put right what differs; returns what became of each piece."""
        results = []
        for found in self.look():
            done = self._put_right(found)
            results.append(done)
            advance(done)
        self._forbid_doubles()
        return results

    def is_member(self, login: str) -> bool:
        """Whether a user is in the group of the nightly job."""
        user, group = self.find_user(login), self._resolve_name(GROUP)
        return group is not None and group in self._read("res.users", user, ["group_ids"])["group_ids"]

    def add_member(self, login: str) -> None:
        """Put a user into the group of the nightly job."""
        user, group = self.find_user(login), self._resolve_name(GROUP)
        self._client.call("res.users", "write", ids=[user], vals={"group_ids": [[4, group]]}, context=QUIET)

    def _find(self, model: str, domain: Sequence[Any]) -> int | None:
        """Id of the first record that a domain names."""
        return next(iter(find_ids(self._client, model, domain)), None)

    def find_user(self, login: str) -> int:
        """Return the id of an internal user who is no administrator.

        Raises
        ------
        ConfigError
            If there is none of that login, or it may do too much.

        """
        user = self._find("res.users", [("login", "=", login), ("share", "=", False)])
        if user is None:
            known = [row["login"] for row in read_where(self._client, "res.users", [("share", "=", False)], ["login"])]
            raise ConfigError(f"{self._client.place} has no user '{login}'. {nearest(login, known, 'users')}")
        if self._resolve_name(ADMINISTRATORS) in self._read("res.users", user, ["all_group_ids"])["all_group_ids"]:
            raise ConfigError(
                f"{self._client.place}: user '{login}' is an administrator, who may do more than write scores. Make a "
                "user for the nightly job and give its login, and its key to the job."
            )
        return user

    def _list_pieces(self) -> list[Piece]:
        there = read_where(self._client, "ir.model", [("model", "in", list(OPTIONAL_MODELS))], ["model"])
        return list_pieces(self._config, frozenset(row["model"] for row in there))

    def _look(self, piece: Piece) -> Found:
        """Find a piece and compare it."""
        self._check_references(piece)
        record = self._named.get(piece.name) or self._find_by_values(piece)
        self._ids[piece.name] = record
        if record is None:
            return Found(piece, "missing")
        if piece.model == "ir.model.fields":
            self._check_type(piece, record)
        return Found(piece, "there" if self._is_right(piece, record) else "differs", record)

    def _check_references(self, piece: Piece) -> None:
        """Refuse what is to be made of something that this Odoo does not have."""
        for name in _REFERENCE.findall(repr(piece.values)):
            if "." in name and self._resolve_name(name) is None:
                kind, _, own = name.rpartition(":")
                raise ConfigError(
                    f"{self._client.place} has no {kind or 'record'} '{own}', which {piece.title} needs. Check the "
                    "config, and that the app that brings it is installed."
                )

    def _find_by_values(self, piece: Piece) -> int | None:
        """Return the id of a piece that was made and has no external id yet."""
        values = self._resolve({name: piece.values[name] for name in piece.found_by})
        if any(value is None for value in values.values()):
            return None
        return self._find(piece.model, [(name, "=", value) for name, value in values.items()])

    def _check_type(self, piece: Piece, record: int) -> None:
        """Refuse a field that is there and cannot hold what is written to it."""
        found = self._read(piece.model, record, ["ttype"])["ttype"]
        kinds: dict[str, FieldKind] = {"float": "number", "integer": "integer", "datetime": "time"}
        kind = kinds.get(piece.values["ttype"], "text")
        if found not in _HOLDS[kind]:
            raise ConfigError(
                f"{self._client.place}: {piece.title} is there and is of type '{found}', which cannot hold a {kind}. "
                "Map another field, or let an administrator remove this one."
            )

    def _is_right(self, piece: Piece, record: int) -> bool:
        """Whether everything that is kept is as it should be."""
        if piece.kept:
            actual = self._read(piece.model, record, piece.kept)
            wanted = self._resolve({name: piece.values[name] for name in piece.kept})
            if not all(agree(wanted[name], actual[name]) for name in piece.kept):
                return False
        return not (self._chinese and self._find_untranslated(piece, record))

    def _find_untranslated(self, piece: Piece, record: int) -> dict[str, Mapping[str, str]]:
        """Texts that people who read Chinese see in English; what an administrator called a record stays."""
        if not piece.chinese:
            return {}
        seen = self._read(piece.model, record, list(piece.chinese), CHINESE)
        left = {
            name: {english: chinese for english, chinese in words.items() if _lacks(name, seen[name], english, chinese)}
            for name, words in piece.chinese.items()
        }
        return {name: words for name, words in left.items() if words}

    def _read(self, model: str, record: int, fields: Sequence[str], language: str = "en_US") -> dict[str, Any]:
        context = {**QUIET, "lang": language}
        row: dict[str, Any] = self._client.call(model, "read", ids=[record], fields=list(fields), context=context)[0]
        return row

    def _put_right(self, found: Found) -> Found:
        """Make a piece, or put it right."""
        piece, record = found.piece, found.record
        if found.state == "there" and piece.name in self._named:
            return found
        values = write_commands(self._resolve(piece.values))
        try:
            if record is None:
                record = int(self._client.call(piece.model, "create", vals_list=[values], context=QUIET)[0])
            elif found.state == "differs" and piece.kept:
                kept = {name: values[name] for name in piece.kept}
                self._client.call(piece.model, "write", ids=[record], vals=kept, context=QUIET)
            self._name(piece, record)
            self._translate(piece, record)
        except OdooRefusal as refusal:
            raise ConfigError(
                f"{self._client.place}: {piece.title} could not be made: {refusal}. What was made before it stays; run "
                "the same command again once this is put right."
            ) from None
        states: dict[State, State] = {"missing": "made", "differs": "changed"}
        return replace(found, state=states.get(found.state, found.state), record=record)

    def _name(self, piece: Piece, record: int) -> None:
        """Give a record its external id."""
        self._ids[piece.name] = record
        if piece.name in self._named:
            return
        if piece.name in self._stale:
            self._client.call("ir.model.data", "unlink", ids=[self._stale[piece.name]], context=QUIET)
        values = {"module": MODULE, "name": piece.name, "model": piece.model, "res_id": record, "noupdate": True}
        self._client.call("ir.model.data", "create", vals_list=[values], context=QUIET)

    def _translate(self, piece: Piece, record: int) -> None:
        """Give a record its texts in Chinese, where that language is used."""
        if not self._chinese:
            return
        for name, words in self._find_untranslated(piece, record).items():
            said = words if name == ARCH else next(iter(words.values()))
            self._client.call(
                piece.model, "update_field_translations", ids=[record], field_name=name, translations={CHINESE: said}
            )
        if piece.name == "model_history":
            self._translate_history()

    def _translate_history(self) -> None:
        """Labels of the history's fields."""
        rows = read_where(self._client, "ir.model.fields", [("model", "=", "x_lead_score")], ["field_description"])
        for row in rows:
            if said := HISTORY_LABELS.get(row["field_description"]):
                self._client.call(
                    "ir.model.fields",
                    "update_field_translations",
                    ids=[row["id"]],
                    field_name="field_description",
                    translations={CHINESE: said},
                )

    def _forbid_doubles(self) -> None:
        """Let the database make the unique indexes of the history and of the tasks."""
        for name in UNIQUE:
            if action := self._ids.get(name):
                forbid_doubles(self._client, action)

    def _resolve(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values with ids in place of references; one that leads nowhere yet is None."""
        return {name: self._resolve_value(value) for name, value in values.items()}

    def _resolve_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._resolve_value(each) for each in value] if value and isinstance(value[0], str) else value
        if not isinstance(value, str) or "@{" not in value:
            return value
        whole = _REFERENCE.fullmatch(value)
        if whole:
            return self._resolve_name(whole[1])
        return _REFERENCE.sub(lambda found: str(self._resolve_name(found[1])), value)

    def _read_names(self) -> None:
        """Read our external ids; one whose record is gone (with the model it belonged to) names nothing."""
        rows = read_where(self._client, "ir.model.data", [("module", "=", MODULE)], ["name", "model", "res_id"])
        there = {
            (model, found)
            for model in {row["model"] for row in rows}
            for found in find_ids(
                self._client, model, [("id", "in", [row["res_id"] for row in rows if row["model"] == model])]
            )
        }
        self._named = {row["name"]: row["res_id"] for row in rows if (row["model"], row["res_id"]) in there}
        self._stale = {row["name"]: row["id"] for row in rows if row["name"] not in self._named}
        self._ids |= self._named

    def _resolve_name(self, name: str) -> int | None:
        """Id of a record of ours, of Odoo, or of a model."""
        if self._ids.get(name) is None and name.startswith("model:"):
            self._ids[name] = self._find("ir.model", [("model", "=", name.removeprefix("model:"))])
        elif self._ids.get(name) is None and "." in name:
            module, _, own = name.rpartition(".")
            rows = read_where(self._client, "ir.model.data", [("module", "=", module), ("name", "=", own)], ["res_id"])
            self._ids[name] = next((row["res_id"] for row in rows), None)
        return self._ids.get(name)


def _lacks(name: str, seen: str, english: str, chinese: str) -> bool:
    """Whether people who read Chinese see a text in English: a whole one, or one of those of a view."""
    return f'"{chinese}"' not in seen if name == ARCH else seen == english
