"""A page of a report: the frame that all have, and the policy that lets nothing but its own script and style run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.report_payload import safe_json, source_hash
from pipeline.report_words import PAGES, WORDS, Pair

FOLDER = Path(__file__).parent / "pages"


def make_report_page(
    page: str, name: str, as_of: str, since: str | None, spoken: Mapping[str, Pair], **facts: Any
) -> str:
    """Fill the template of a page. All that comes from the data is text there, never HTML.

    Parameters
    ----------
    page : str
        One of the files of a report.
    name, as_of, since : str
        The deployment, the end of its data, and that of the run before.
    spoken : mapping
        What its script says.
    **facts
        What else its template reads; `safe` there is what comes from `pipeline.report_payload` alone.

    """
    key = PAGES[page]
    pages = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    style = pages.get_template("_report.css").render()
    script = "".join((FOLDER / each).read_text(encoding="utf-8") for each in ("_report.js", f"{key}.js"))
    policy = (
        f"default-src 'none'; script-src {source_hash(script)}; style-src {source_hash(style)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return pages.get_template(f"{key}.html").render(
        page=page,
        pages=list(PAGES.items()),
        words=WORDS,
        title=WORDS[key],
        name=name,
        as_of=as_of,
        since=since,
        style=style,
        script=script,
        policy=policy,
        spoken=safe_json(dict(spoken)),
        **facts,
    )
