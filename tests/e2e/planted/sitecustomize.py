"""Puts a planted bug into every Python process of a site whose environment names one. See ``bugs``.

Python imports a module of this name at start; only sites that a test gives this directory in PYTHONPATH have it.
"""

import os

if name := os.environ.get("PLANTED_BUG"):
    from tests.e2e.planted.bugs import BUGS

    BUGS[name]()
