"""Opening the real store for the crash tests."""

from __future__ import annotations

import pytest

store = pytest.importorskip("gateway.store.store")


def open_store(root, files=None): ...
def dump_store(root): ...
def verify_store(store): ...
