"""What the cloud and the way to it cost: the operator's prices, and nothing but arithmetic.

Prices are told per decimal gigabyte (10^9 bytes) and per thousand requests, as providers print them. All are 0 until
they are configured: then figures are shown in bytes and requests alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GB: Final = 1_000_000_000
HOURS_A_MONTH: Final = 730


@dataclass(frozen=True, slots=True)
class Tariff:
    """[tariff]: prices in ``currency``. Uploads are rarely priced by clouds, but often by the site's own link."""

    currency: str = "USD"
    upload_per_gb: float = 0.0
    download_per_gb: float = 0.0
    storage_per_gb_month: float = 0.0
    put_per_1000: float = 0.0  # PUT, COPY, POST, LIST
    get_per_1000: float = 0.0

    @property
    def is_told(self) -> bool:
        """Whether there is any price."""
        prices = (self.upload_per_gb, self.download_per_gb, self.storage_per_gb_month, self.put_per_1000)
        return any(prices) or bool(self.get_per_1000)

    def upload(self, count: int) -> float:
        """The price of sending ``count`` bytes."""
        return self.upload_per_gb * count / GB

    def download(self, count: int) -> float:
        """The price of fetching ``count`` bytes."""
        return self.download_per_gb * count / GB

    def storage_month(self, count: int) -> float:
        """The price of keeping ``count`` bytes for a month."""
        return self.storage_per_gb_month * count / GB

    def requests(self, puts: float, gets: float) -> float:
        """The price of so many requests that write or list, and that read."""
        return (self.put_per_1000 * puts + self.get_per_1000 * gets) / 1000
