"""Tables in a bucket: Polars reads and writes Parquet; delta-rs commits with conditional puts, many writers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.compat.clients.features import proves
from tests.compat.clients.places import Place

polars = pytest.importorskip("polars")
deltalake = pytest.importorskip("deltalake")
pyarrow = pytest.importorskip("pyarrow")
pytestmark = [pytest.mark.e2e, pytest.mark.compat]
CLIENT = "Polars and delta-rs"
WRITERS = 8


def options(place: Place) -> dict[str, str]:
    return {
        "aws_endpoint_url": place.site.endpoint,
        "aws_access_key_id": place.site.access_key,
        "aws_secret_access_key": place.site.secret_key,
        "aws_region": "us-east-1",
        "aws_allow_http": "true",
    }


@proves("small", "stream", "range", "list", "cross")
def test_polars(plain_place: Place) -> None:
    place = plain_place
    frame = polars.DataFrame({"n": range(500_000), "s": [str(n % 7) for n in range(500_000)]})
    frame.lazy().sink_parquet(f"s3://{place.bucket}/a=1/t.parquet", storage_options=options(place))
    frame.write_parquet(f"s3://{place.bucket}/a=2/t.parquet", storage_options=options(place))
    found = polars.scan_parquet(f"s3://{place.bucket}/*/t.parquet", storage_options=options(place))
    got = found.filter(polars.col("n") == 499_999).select("n", "s").collect()
    assert got.rows() == [(499_999, str(499_999 % 7))] * 2
    assert len(place.keys()) == 2


@proves("if_none_match", "small", "list", "range")
def test_delta_writers_lose_nothing(plain_place: Place) -> None:
    """Each commit creates the next numbered log file if it is not there; a loser reads and tries the next."""
    place = plain_place
    uri = f"s3://{place.bucket}/table"

    def append(number: int) -> None:
        rows = pyarrow.table({"n": [number * 10 + row for row in range(10)]})
        deltalake.write_deltalake(uri, rows, mode="append", storage_options=options(place))

    append(0)
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(append, range(1, WRITERS + 1)))
    table = deltalake.DeltaTable(uri, storage_options=options(place))
    assert table.version() == WRITERS
    assert sorted(table.to_pyarrow_table()["n"].to_pylist()) == list(range((WRITERS + 1) * 10))


@proves("delete_many")
def test_delta_deletes(plain_place: Place) -> None:
    place = plain_place
    uri = f"s3://{place.bucket}/table"
    for number in range(3):
        rows = pyarrow.table({"n": [number]})
        deltalake.write_deltalake(uri, rows, mode="overwrite", storage_options=options(place))
    table = deltalake.DeltaTable(uri, storage_options=options(place))
    gone = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert len(gone) == 2
    assert table.to_pyarrow_table()["n"].to_pylist() == [2]
