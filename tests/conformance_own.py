"""What every adapter must pass for what is our own in the CRM: the history of scores, and tasks (see `conformance`)."""

from conformance import OLD, Subject

from pipeline.adapters.target import FollowUp, HistoryRow


def row_of(run_id: str, entity_id: str, target: str = "conversion", horizon_days: int = 90) -> HistoryRow:
    reasons = ("two\nlines", "客户活跃 🙂")
    return HistoryRow(
        run_id, entity_id, "2024-05-01 00:00:00", target, horizon_days, 1 / 3, "A", *reasons, model_version="3"
    )


class HistoryConformance:
    """Rows of our own: unique for each run, entity, target and horizon."""

    def test_rows_are_known_by_their_keys(self, subject: Subject) -> None:
        ids = subject.make([OLD, OLD])
        rows = [row_of("r1", ids[0]), row_of("r1", ids[0], horizon_days=30), row_of("r1", ids[1], "churn")]
        with subject.open_history() as history:
            assert history.history_keys("r1") == set()
            history.add_history(rows)
            history.add_history([row_of("r2", ids[0])])
        with subject.open_history() as history:
            assert history.history_keys("r1") == {row.key for row in rows}
            assert history.history_keys("r2") == {f"r2/conversion/90/{ids[0]}"}
            assert history.history_keys("r") == set()

    def test_no_rows_are_nothing(self, subject: Subject) -> None:
        with subject.open_history() as history:
            history.add_history([])
            assert history.history_keys("r1") == set()

    def test_scores_may_be_absent(self, subject: Subject) -> None:
        (one,) = subject.make([OLD])
        row = HistoryRow("r1", one, "2024-05-01 00:00:00", "conversion", 90, None, None, None, None, None)
        with subject.open_history() as history:
            history.add_history([row])
            assert history.history_keys("r1") == {row.key}

    def test_a_run_is_removed_and_no_other(self, subject: Subject) -> None:
        ids = subject.make([OLD] * 3)
        with subject.open_history() as history:
            history.add_history([row_of("r1", one) for one in ids])
            history.add_history([row_of("r11", one) for one in ids])
            assert history.remove_history("r1") == 3
            assert history.remove_history("r1") == 0
            assert history.history_keys("r1") == set()
            assert len(history.history_keys("r11")) == 3

    def test_entities_are_forgotten_in_all_runs(self, subject: Subject) -> None:
        ids = subject.make([OLD] * 2)
        with subject.open_history() as history:
            for run_id in ("r1", "r2"):
                history.add_history([row_of(run_id, one) for one in ids] + [row_of(run_id, ids[0], "churn")])
            assert history.forget_history({"conversion": [ids[0]]}) == 2
            assert history.history_keys("r1") == {f"r1/conversion/90/{ids[1]}", f"r1/churn/90/{ids[0]}"}


class FollowUpConformance:
    """Tasks for the owners of records: what a person has closed stays closed."""

    def make_task(self, subject: Subject, key: str, record_id: str) -> FollowUp:
        return FollowUp(key, subject.table, record_id, "跟进提醒: call", "no touch for 30 days", "2024-05-04", "r1")

    def test_a_task_is_open_until_somebody_closes_it(self, subject: Subject) -> None:
        ids = subject.make([OLD, OLD])
        keys = [f"conversion/{one}/silent" for one in ids]
        with subject.open_follow_ups() as tasks:
            assert tasks.open_follow_ups() == {}
            made = tasks.add_follow_ups([self.make_task(subject, key, one) for key, one in zip(keys, ids, strict=True)])
            assert {key: result.status for key, result in made.items()} == dict.fromkeys(keys, "done")
            assert tasks.open_follow_ups() == {key: result.record_id for key, result in made.items()}
            subject.close_task(made[keys[0]].record_id)
        with subject.open_follow_ups() as tasks:
            assert tasks.open_follow_ups() == {keys[1]: made[keys[1]].record_id}

    def test_no_tasks_are_nothing(self, subject: Subject) -> None:
        with subject.open_follow_ups() as tasks:
            assert tasks.add_follow_ups([]) == {}
            tasks.close_follow_ups([])
            assert tasks.open_follow_ups() == {}

    def test_a_record_that_does_not_exist_gets_no_task(self, subject: Subject) -> None:
        (one,) = subject.make([OLD])
        here, gone = self.make_task(subject, "here", one), self.make_task(subject, "gone", subject.absent)
        with subject.open_follow_ups() as tasks:
            made = tasks.add_follow_ups([gone, here])
            assert {key: result.status for key, result in made.items()} == {"here": "done", "gone": "missing"}
            assert list(tasks.open_follow_ups()) == ["here"]

    def test_exactly_the_tasks_that_are_named_are_closed(self, subject: Subject) -> None:
        ids = subject.make([OLD] * 3)
        with subject.open_follow_ups() as tasks:
            made = tasks.add_follow_ups([self.make_task(subject, f"key {one}", one) for one in ids])
            task_ids = [made[f"key {one}"].record_id for one in ids]
            subject.close_task(task_ids[0])
            for _ in range(2):  # closed twice, and closed by somebody: neither is an error
                tasks.close_follow_ups(task_ids[:2])
            assert tasks.open_follow_ups() == {f"key {ids[2]}": task_ids[2]}
            tasks.forget_follow_ups(task_ids)
            tasks.forget_follow_ups(task_ids)
            assert tasks.open_follow_ups() == {}
