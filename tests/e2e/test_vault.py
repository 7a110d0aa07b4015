"""A realm whose root key Vault unwraps: made, written, restarted, read; and an island while Vault is away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.kill.processes import BACKGROUND, WORKER, kill_one, list_children
from tests.support.net import wait_until
from tests.support.site import Site
from tests.support.vault import TOKEN, FakeVault

pytestmark = pytest.mark.e2e


def read(client: Any) -> bytes:
    """What is there; nothing while no worker serves."""
    try:
        body: bytes = client.get_object(Bucket="box", Key="key")["Body"].read()
    except (BotoCoreError, ClientError):
        return b""
    return body


def test_who_dies_while_vault_is_away_is_started_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    with FakeVault() as vault:
        realm = {"wrapped_key_file": str(tmp_path / "realm.wrapped"), "vault_address": vault.address}
        settings = {"realm": {**realm, "vault_key": "skerry", "vault_token_file": str(token)}}
        site = Site(tmp_path / "site", "site", settings=settings)
        assert site.run("config", "check").returncode == 0, "the wrapped key is made by the first start"
        with site:
            site.client().create_bucket(Bucket="box")
            site.client().put_object(Bucket="box", Key="key", Body=b"on an island")
            vault.sealed = True
            before = {module: list_children(site, module) for module in (WORKER, BACKGROUND)}
            for (pid,) in before.values():
                kill_one(pid)
            for module, killed in before.items():
                wait_until(lambda module=module: bool(list_children(site, module)), f"{module} runs", 60)  # type: ignore[misc]
                assert list_children(site, module) != killed
            wait_until(lambda: read(site.client()) == b"on an island", "the worker serves again", 60)
        refused = site.run("status", check=False)
        assert (refused.returncode, "unseal" in refused.stderr) == (3, True)
        vault.sealed = False
        with site:
            assert read(site.client()) == b"on an island"
