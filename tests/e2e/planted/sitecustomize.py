"""Puts a planted bug into every Python process of a site whose environment names one. See ``bugs``.

The processes of a site that are forked import it where their environment says so (``FIRST_VARIABLE`` of the zygote).
"""

import os

if name := os.environ.get("PLANTED_BUG"):
    from tests.e2e.planted.bugs import BUGS

    BUGS[name]()
