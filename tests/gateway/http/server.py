"""A gateway in this process, on a port of its own, in a thread of its own: for boto3 and raw sockets alike."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from gateway.http.app import serve_gateway
from gateway.http.metrics import RequestMetrics
from gateway.http.settings import HttpSettings
from gateway.identity.users import add_user, ensure_root, new_access_key, new_user
from gateway.store.ports import Store

ACCESS_KEY = "AKIAROOTROOTROOTROOT"
SECRET = "root-secret-root-secret-root-secret-root"
OTHER_KEY = "AKIAOTHEROTHEROTHERX"
OTHER_SECRET = "other-secret-other-secret-other-secret-x"
Result = TypeVar("Result")


def _close_bodies_with(client: Any) -> None:
    """Let ``client.close`` close the bodies a test did not read, too: their sockets would be found open later."""
    bodies: list[Any] = []
    client.meta.events.register("after-call.s3.GetObject", lambda parsed, **_: bodies.append(parsed.get("Body")))
    close = client.close

    def close_all() -> None:
        for body in bodies:
            if hasattr(body, "close"):
                body.close()
        close()

    client.close = close_all


class Server:
    """Use as a context manager. ``open_store`` runs on the server's loop and gives the store and how to close it."""

    def __init__(
        self,
        open_store: Callable[[], Awaitable[tuple[Store, Callable[[], Awaitable[None]]]]],
        settings: HttpSettings | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._open_store = open_store
        self._settings = settings or HttpSettings()
        self._ssl = ssl_context
        self.metrics = RequestMetrics()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway")
        self._error: BaseException | None = None

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._ssl else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Server:
        self._thread.start()
        self._ready.wait(30)
        if self._error is not None:
            raise self._error
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()
        self._thread.join(30)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Tell it to stop; what is in flight goes on."""
        self.loop.call_soon_threadsafe(self._stop.set)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.store, close = await self._open_store()
        await ensure_root(self.store, access_key_id=ACCESS_KEY, secret=SECRET)

        def add_other(view: Any) -> None:
            user = new_user("other", now_ms=view.now_ms)
            key = new_access_key(user.id, now_ms=view.now_ms, access_key_id=OTHER_KEY, secret=OTHER_SECRET)
            add_user(view, user, key)

        await self.store.commit(add_other)
        try:
            await serve_gateway(
                self.store,
                self._settings,
                self._socket,
                ssl_context=self._ssl,
                stop=self._stop,
                metrics=self.metrics,
                on_ready=self._ready.set,
            )
        finally:
            await close()

    def call(self, make: Callable[[], Awaitable[Result]]) -> Result:
        """Run something on the server's loop and wait for it."""

        async def run() -> Result:
            return await make()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(30)

    def client(
        self, access_key: str = ACCESS_KEY, secret: str = SECRET, region: str = "us-east-1", **config: Any
    ) -> Any:
        """A boto3 client with default settings but for the endpoint and retries."""
        settings = {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}, **config}
        client = boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret,
            region_name=region,
            config=Config(**settings),
            verify=False if self._ssl else None,
        )
        _close_bodies_with(client)
        return client

    def keys(self, bucket: str) -> list[str]:
        """What is really in a bucket: every version's key, straight from the store."""

        async def look() -> list[str]:
            with self.store.view() as view:
                found = view.bucket(bucket)
                return [] if found is None else [row.key.decode() for row in view.scan_versions(found.uid)]

        return self.call(look)
