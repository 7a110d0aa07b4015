"""The same over TLS: while hostile clients shake hands badly, or not at all, a good one is served over TLS.

One server for all attacks, one after the other. ``SKERRY_HOSTILE_CONNECTIONS`` says how many handshakes stay half open:
more than may be under way, so that the good client's own may be refused or end for a newer one's while they arrive.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.gateway.http.raw import Raw
from tests.gateway.http.server import ACCESS_KEY, SECRET
from tests.hostile.attacks import BUCKET, CONNECTIONS, LARGE_BYTES, LARGE_KEY
from tests.hostile.tls_attacks import TLS_ATTACKS, half_open
from tests.hostile.watching import Place, endure
from tests.support.authority import make_authority
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_good_client_is_served_over_tls_meanwhile(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "authority", "s3.test")
    files = {"tls_certificate_file": str(authority.chain), "tls_key_file": str(authority.key)}
    server = {"connections_max": CONNECTIONS + 1000, "header_timeout_s": 2.0, "body_idle_timeout_s": 10.0} | files
    with Site(tmp_path, "hostile", access_key=ACCESS_KEY, secret_key=SECRET, settings={"server": server}) as site:
        client = site.client(verify=str(authority.root))
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key=LARGE_KEY, Body=random.Random(2).randbytes(LARGE_BYTES))
        client.close()
        place = Place(site, Raw(site.port), root=str(authority.root), served_min=5)
        for attack in TLS_ATTACKS:
            place.may_cut = attack is half_open  # the others are fewer than the handshakes that may be under way
            endure(place, attack)
