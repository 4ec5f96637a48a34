"""`leadsieve score`: score everybody who is eligible at the end of the data."""

from pipeline.commands.options import ConfigOption, JsonOption, answer, print_json, progress
from pipeline.config import load_config


def score(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Score all targets at the extract's `data_end`. The same extract gives the same scores."""
    from pipeline.horizon_scores import primary_scores
    from pipeline.ledger import open_ledger
    from pipeline.lock import hold_lock
    from pipeline.score import score as score_tables

    settings = load_config(config)
    lock = hold_lock(settings.folder, "score")
    with lock, open_ledger(settings.folder / "ledger.db") as ledger, progress.status("Scoring ..."):
        run = score_tables(settings, ledger)
    scores = primary_scores(settings, run.scores)
    counts = {name: int((scores["target"] == name).sum()) for name in settings.targets}
    if as_json:
        facts = {"run_id": run.run_id, "folder": str(run.folder), "is_new": run.is_new}
        print_json({**facts, "rows": counts, "notes": run.notes})
        return
    widths = (scores["probability_high"] - scores["probability_low"]).groupby(scores["target"]).mean()
    rows = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    note = "" if run.is_new else " (scored before, unchanged)"
    answer.print(f"{run.run_id}: {rows} scores in {run.folder}{note}", markup=False, soft_wrap=True)
    for name, width in widths.dropna().items() if run.is_new else ():
        sentence = f"{name}: intervals of the probability are {width:.1%} wide on average"
        answer.print(sentence, markup=False, soft_wrap=True)
    for sentence in run.notes if run.is_new else ():
        answer.print(sentence, markup=False, soft_wrap=True)
