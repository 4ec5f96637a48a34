"""Connections: transactions of SQLite are ours, and errors show no secret."""

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import bindparam, column, make_url, table, update
from sqlalchemy.exc import OperationalError

from pipeline.database import answering, describe_error, execute_many, make_engine, read_url, writing
from pipeline.errors import CrmError


def test_every_secret_of_an_address_is_blotted_out_of_an_error() -> None:
    address = "postgresql://job:hunter2@crm.example/sales?sslpassword=correcthorse"
    said = OperationalError("SELECT 1", {}, Exception(f"cannot reach {address}\n password hunter2, key correcthorse."))
    assert describe_error(said, make_url(address)) == "cannot reach *** password ***, key ***"


def test_an_address_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(Exception, match=r"A database URL cannot be read \(not shown") as caught:
        read_url("postgresql//job:hunter2@crm")
    assert "hunter2" not in repr(caught.value)


def test_what_the_database_refuses_says_where_and_doing_what(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "crm.db")
    message = r"crm\.db failed while counting: no such table: t\. Nothing is lost; run the same"
    with pytest.raises(CrmError, match=message), answering(engine, "counting"), engine.connect() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM t")


def test_a_transaction_that_writes_keeps_others_from_writing_from_its_first_read_on(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "crm.db")
    other = sqlite3.connect(tmp_path / "crm.db", timeout=0, isolation_level=None)
    other.execute("CREATE TABLE t (a INTEGER)")
    with writing(engine).begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM t").scalar() == 0
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("INSERT INTO t VALUES (1)")
    with engine.begin() as connection:  # one that only reads does not
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 1
    other.execute("INSERT INTO t VALUES (1)")
    other.close()


def test_an_error_rolls_the_whole_transaction_back(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "crm.db")

    def make_table_and_fail() -> None:
        with writing(engine).begin() as connection:
            connection.exec_driver_sql("CREATE TABLE t (a INTEGER)")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        make_table_and_fail()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar() == 0


def test_many_rows_find_their_parameters_by_name(tmp_path: Path) -> None:
    engine = make_engine(tmp_path / "crm.db")
    deals = table("t", column("a"), column("b"))
    statement = update(deals).where(deals.c.a == bindparam("which")).values(b=bindparam("what"))
    with writing(engine).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t AS SELECT 1 AS a, 0 AS b UNION SELECT 2, 0")
        execute_many(connection, statement, [{"which": 1, "what": 10}, {"what": 20, "which": 2}])
        execute_many(connection, statement, [])
        assert connection.exec_driver_sql("SELECT a, b FROM t ORDER BY a").all() == [(1, 10), (2, 20)]
