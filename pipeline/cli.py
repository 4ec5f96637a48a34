"""The command line: `leadsieve COMMAND`. Each command lives in a module of its own.

Nothing of `features` or `models` is imported before `check_packages` has seen that they are ours.
"""

import importlib.util
import os
import sys
import traceback
from pathlib import Path

import typer

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")


def check_packages() -> None:
    """Check that our three flat packages lie side by side, so that no other `models` is picked up.

    Raises
    ------
    SystemExit
        With exit code 2, naming the intruder.

    """
    home = Path(__file__).resolve().parent.parent
    for name in ("features", "models"):
        spec = importlib.util.find_spec(name)
        places = [Path(place) for place in (spec and (spec.submodule_search_locations or [str(spec.origin)])) or ()]
        if [place.resolve() for place in places] != [home / name]:
            found = f"comes from {places[0]}" if places else "is not there"
            typer.echo(
                f"Error: package '{name}' {found}, expected {home / name}. "
                "Install leadsieve in an environment of its own, and run it outside folders that hold a package or "
                "module of that name.",
                err=True,
            )
            raise SystemExit(2)


def make_app() -> typer.Typer:
    """All commands, ready to be called."""
    from pipeline.commands import (
        check,
        crm,
        customer,
        demo,
        evaluate,
        explain,
        extract,
        features,
        forget,
        history,
        init,
        override,
        promote,
        report,
        retrain,
        review,
        rollback,
        run,
        score,
        scorecard,
        simulate,
        train,
        writeback,
    )

    app = typer.Typer(
        name="leadsieve",
        help="Which leads will convert, which customers will leave: answered from CRM data, written back to the CRM.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # plain text: a log keeps sentences whole
    )
    app.callback()(_options)
    app.command()(init.init)
    app.command()(demo.demo)
    app.command()(simulate.simulate)
    app.command()(extract.extract)
    app.command()(check.check)
    app.add_typer(features.app, name="features")
    app.command()(train.train)
    app.command()(evaluate.evaluate)
    app.command()(retrain.retrain)
    app.command()(promote.promote)
    app.command()(rollback.rollback)
    app.command()(history.history)
    app.command()(score.score)
    app.add_typer(scorecard.app, name="scorecard")
    app.add_typer(writeback.app, name="writeback")
    app.add_typer(crm.app, name="crm")
    app.command()(run.run)
    app.command()(explain.explain)
    app.command()(customer.customer)
    app.command()(override.override)
    app.command()(report.report)
    app.command()(review.review)
    app.command()(forget.forget)
    return app


def _options(debug: bool = typer.Option(False, "--debug", help="Show a traceback when something goes wrong.")) -> None:
    if debug:
        os.environ["LEADSIEVE_DEBUG"] = "1"


def main() -> None:
    """Run a command; an error becomes one sentence on stderr and an exit code."""
    check_packages()
    from pipeline.errors import DEFECT, exit_code_of

    try:
        make_app()(prog_name="leadsieve")
    except Exception as error:
        if os.environ.get("LEADSIEVE_DEBUG"):
            traceback.print_exc()
        code = exit_code_of(error)
        typer.echo(f"Error: {error if code != DEFECT else _describe_defect(error)}", err=True)
        sys.exit(code)


def _describe_defect(error: Exception) -> str:
    """One sentence for an error that nobody foresaw; those of the operating system explain themselves."""
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}. Put that right, then run the same command again."
    text = " ".join(str(error).split())[:500]
    return (
        f"unexpected {type(error).__name__}: {text.rstrip('.')}. This is a defect of leadsieve: report what "
        "`leadsieve --debug COMMAND ...` prints."
    )


if __name__ == "__main__":
    main()
