"""A cloud at one call to which everything stops: before it is done, or after it."""

import asyncio


class StoppingCloud:
    """Cancels whoever makes call number ``stop_at``, an odd one before it is done; ``calls``: how many were made."""

    def __init__(self, cloud, stop_at):
        self._cloud, self._stop_at = cloud, stop_at
        self.calls = 0

    def __getattr__(self, name):
        real = getattr(self._cloud, name)

        async def call(*given, **more):
            self.calls += 1
            stops = self.calls == self._stop_at
            if stops and self._stop_at % 2:
                raise asyncio.CancelledError
            done = await real(*given, **more)
            if stops:
                raise asyncio.CancelledError
            return done

        return call
