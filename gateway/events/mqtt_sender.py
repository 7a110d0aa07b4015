"""Events by MQTT 3.1.1: one PUBLISH of QoS 1 a message, taken once the broker acknowledged it.

``mqtt://[user:password@]host[:1883]/topic`` or ``mqtts://…[:8883]``; all behind the host's slash is the topic. The
connection is kept and made anew after any failure. aiomqtt is imported where a destination needs it, and nowhere else.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gateway.events.follower import NotTaken

if TYPE_CHECKING:
    import aiomqtt


class MqttSender:
    """Publishes to one topic of one broker."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        self._topic = unquote(parts.path.removeprefix("/"))
        self._timeout_s = timeout_s
        secure = parts.scheme == "mqtts"
        self._options: dict[str, Any] = {
            "hostname": parts.hostname,
            "port": parts.port or (8883 if secure else 1883),
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "tls_context": ssl.create_default_context() if secure else None,
            "timeout": timeout_s,
        }
        self._stack = AsyncExitStack()
        self._client: aiomqtt.Client | None = None

    async def send(self, message: bytes) -> None:
        """Deliver one message. Raises ``NotTaken``."""
        import aiomqtt

        try:
            async with asyncio.timeout(self._timeout_s):
                client = self._client
                if client is None:
                    client = aiomqtt.Client(**self._options, protocol=aiomqtt.ProtocolVersion.V311)
                    self._client = await self._stack.enter_async_context(client)
                await client.publish(self._topic, message, qos=1)
        except (aiomqtt.MqttError, TimeoutError, OSError) as error:
            await self.close()
            raise NotTaken(f"the broker cannot be reached or refuses: {type(error).__name__}") from error

    async def close(self) -> None:
        """Give the connection back."""
        import aiomqtt

        self._client = None
        stack, self._stack = self._stack, AsyncExitStack()
        try:
            await stack.aclose()
        except (aiomqtt.MqttError, TimeoutError, OSError):
            return  # it was gone already
