"""How long deals usually stay in a stage before they move on."""

from typing import Any

from features.expressions import SECONDS_PER_DAY, latest, whole_seconds
from features.group import Pooled, pooled_group


def _stage_now(stage_changes: Any) -> Any:
    return latest(stage_changes.stage_rank, stage_changes.occurred_at, below=1000)


@pooled_group("stage_changes", by="previous_stage_rank", at="occurred_at", own=_stage_now)
def stage_stays(stage_changes: Any) -> dict[str, Pooled]:
    """Days that deals stayed in the stage in which this one stands, of all that left it before `as_of`.

    A stay ends when the next change is known; a change entered after a later one ends none.
    """
    stay = whole_seconds(stage_changes.occurred_at) - whole_seconds(stage_changes.previous_occurred_at)
    return {
        "stage_usual_days": Pooled(
            (stay >= 0).ifelse(stay, None),
            20,
            "stage_left_count_365d",
            "deals stay {value:,.0f} days in this stage",
            "该阶段通常停留 {value:,.0f} 天",
            unit="days",
            divisor=SECONDS_PER_DAY,
        )
    }
