"""Killing a job at any moment: before or after each of its steps."""

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """The process is gone: no handler of ours may see it."""


class Fuse:
    """Kills at the n-th moment; moments are before and after each step."""

    def __init__(self, moment: int | None) -> None:
        self.left = moment

    def tick(self) -> None:
        if self.left == 0:
            raise Killed("the fuse is through")
        if self.left is not None:
            self.left -= 1

    def guard(self, thing: Any, steps: tuple[str, ...]) -> None:
        for name in steps:
            setattr(thing, name, self._around(getattr(thing, name)))

    def _around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*arguments: Any, **options: Any) -> Any:
            self.tick()
            result = step(*arguments, **options)
            self.tick()
            return result

        return guarded
