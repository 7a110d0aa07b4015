"""The events process of ``skerry serve``: delivers notifications of buckets to the configured destinations.

Started by the supervisor as ``python -m gateway.cli.events``, if there are destinations. If it dies, the gateway goes
on and it is started again; it goes on where it was.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack

import uvloop

from gateway.cli.child import Orders, read_orders, report_ready, watch_parent
from gateway.cli.logs import configure_logs
from gateway.cli.opening import opened_site
from gateway.cli.reporting import run_reporting
from gateway.events.destinations import parse_destinations
from gateway.events.follower import Follower, FollowerSettings
from gateway.events.mqtt_sender import MqttSender
from gateway.events.nats_sender import NatsSender
from gateway.events.positions import PositionFile
from gateway.events.webhook import WebhookSender


def main() -> int:
    """Run until told to end: the exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    orders = read_orders()
    configure_logs(orders.config.log.level, "events")
    os.nice(orders.config.server.replication_nice)
    return run_reporting(lambda: uvloop.run(_follow(orders)))


def _make_sender(url: str, authorization: str, timeout_s: float) -> WebhookSender | MqttSender | NatsSender:
    """The sender for a destination's URL."""
    if url.startswith("mqtt"):
        return MqttSender(url, timeout_s)
    if url.startswith(("nats:", "tls:")):
        return NatsSender(url, timeout_s)
    return WebhookSender(url, authorization, timeout_s)


async def _follow(orders: Orders) -> None:
    stop = asyncio.Event()
    watch_parent(stop)
    settings = orders.config.notifications
    rules = FollowerSettings(orders.config.server.region, settings.retry_max_s, settings.age_max_s)
    async with opened_site(orders.config, root_key=orders.root_key) as site, AsyncExitStack() as stack:
        followers = []
        for name, url in parse_destinations(settings.destinations):
            sender = _make_sender(url, settings.authorization_of(name), settings.timeout_s)
            stack.push_async_callback(sender.close)
            positions = PositionFile(site.directory, name)
            followers.append(Follower(name, site.replica, site.store.view, positions, sender, rules))
        report_ready()
        async with asyncio.TaskGroup() as group:
            for follower in followers:
                group.create_task(follower.run(stop))


if __name__ == "__main__":
    sys.exit(main())
