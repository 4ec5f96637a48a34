"""Pictures of scores in a real Odoo's own lists and forms, for looking at: `python tests/shot_odoo.py FOLDER`.

Odoo is the one of ODOO_URL. The user is ODOO_LOGIN with ODOO_PASSWORD (`admin`, `admin` where a database is fresh).
"""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from browser import Browser, find_chromium

VIEWS = {
    "leads_list": ("/odoo/action-crm.crm_lead_opportunities?view_type=list", ".o_list_view .o_data_row"),
    "lead_form": ("/odoo/action-crm.crm_lead_opportunities/{lead}", ".o_form_view .o_field_widget"),
    "pipeline": ("/odoo/action-crm.crm_lead_opportunities", ".o_kanban_view .o_kanban_record"),
    "partner_form": ("/odoo/action-base.action_partner_form/{partner}", ".o_form_view .o_field_widget"),
    "history": ("/odoo/action-leadsieve.history_action", ".o_list_view .o_data_row"),
}
"""Picture to the address of a view, and what is there once it is drawn."""


def sign_in(browser: Browser, url: str, login: str, password: str) -> None:
    """Sign in as people do."""
    browser.call("Page.navigate", url=f"{url}/web/login")
    browser.wait("!!document.querySelector('form.oe_login_form input[name=login]')")
    browser.ask(
        f"document.querySelector('input[name=login]').value = {json.dumps(login)};"
        f"document.querySelector('input[name=password]').value = {json.dumps(password)};"
        "document.querySelector('form.oe_login_form').submit()"
    )
    browser.wait("location.pathname.startsWith('/odoo') && !!document.querySelector('.o_action_manager')")


def take_pictures(browser: Browser, url: str, folder: Path, records: dict[str, int]) -> None:
    """Store one picture of each view."""
    browser.look(1500, 1000)
    for name, (path, drawn) in VIEWS.items():
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=url + path.format(**records))
        browser.wait(f"!!document.querySelector({json.dumps(drawn)})")
        time.sleep(1.5)  # pictures within the page
        browser.picture(folder / f"{name}.png")
        print(folder / f"{name}.png")


def main() -> None:
    """Take the pictures."""
    folder, url = Path(sys.argv[1]), os.environ["ODOO_URL"]
    records = dict(zip(("lead", "partner"), (int(each) for each in [*sys.argv[2:4], "1", "1"][:2]), strict=True))
    folder.mkdir(parents=True, exist_ok=True)
    program = find_chromium()
    if program is None:
        sys.exit("There is no chromium on this machine.")
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(program, Path(profile))
        try:
            sign_in(browser, url, os.environ.get("ODOO_LOGIN", "admin"), os.environ.get("ODOO_PASSWORD", "admin"))
            take_pictures(browser, url, folder, records)
        finally:
            browser.close()


if __name__ == "__main__":
    main()
