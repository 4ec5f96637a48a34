"""What `leadsieve crm install` makes, in a real Odoo for tests."""

from pathlib import Path
from typing import Any

from crm_world import make_config
from odoo_server import RealOdoo

from pipeline.adapters.odoo_install import OdooInstaller
from pipeline.config import Config

LEAD = "crm.lead"
FIELDS = {"x_ls_probability": "probability", "x_ls_grade": "grade", "x_ls_reasons_en": "reasons_en"}
"""Fields of leads that `leadsieve crm install` makes for this test."""


def install(server: RealOdoo, folder: Path, **write_back: Any) -> Config:
    """Make in a real Odoo what scores, their history and tasks need; returns the deployment that needs it."""
    mapping = {"target": LEAD, "key": "id", "fields": FIELDS, "decimals": 4}
    place = {"adapter": "odoo", "url_env": "ODOO_URL", "database": server.database, "key_env": "ODOO_KEY"}
    config = make_config(
        folder,
        sqlite=None,
        **place,
        tables={"conversion": mapping},
        **{"history": {}, "follow_ups": {"flags": {"conversion": ["silent"]}}, **write_back},
    )
    installer = OdooInstaller(server.admin, config)
    installer.install()
    if not installer.is_member("nightly"):
        installer.add_member("nightly")
    return config
