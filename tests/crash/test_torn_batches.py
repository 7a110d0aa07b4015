"""Found by hand, kept for ever: states that the crash tests would meet only with luck."""

from __future__ import annotations

import shutil
from pathlib import Path

from gateway.store.document_format import BucketRecord
from tests.gateway.store.index_site import IndexSite


def keys(site: IndexSite, uid: bytes) -> list[bytes]:
    with site.view() as view:
        return [key for key, _ in view.scan_heads(uid)]


def test_a_torn_batch_never_stands_in_for_the_one_written_after_it(tmp_path: Path) -> None:
    """A crash tears batch N within its frames (zeros, as reserved space is); the next life writes another batch N."""
    path = tmp_path / "site"
    with IndexSite(path) as site:
        uid = site.commit(lambda view: view.put_bucket(BucketRecord(name="b", owner="o"))).uid
        site.put(uid, b"before", b"x" * 500)
    shutil.copytree(path / "index", tmp_path / "index")
    with IndexSite(path) as site:
        site.put(uid, b"torn", b"y" * 500)
    newest = max((path / "segments").glob("*.log"), key=lambda file: int(file.stem))
    newest.write_bytes(newest.read_bytes().rstrip(b"\0")[:-100] + bytes(100))
    shutil.rmtree(path / "index")
    shutil.copytree(tmp_path / "index", path / "index")
    with IndexSite(path) as site:
        assert keys(site, uid) == [b"before"]
        site.put(uid, b"acknowledged", b"z" * 500)
    shutil.rmtree(path / "index")
    with IndexSite(path) as site:
        assert keys(site, uid) == [b"acknowledged", b"before"]
