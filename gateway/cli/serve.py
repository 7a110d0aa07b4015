"""``skerry serve``: the parent of a site's processes: makes the site at its first start, binds, supervises, ends.

    parent ── worker 1..N        the S3 listener, shared
           ├─ background         replication, if a cloud is configured, and upkeep of the store; niced
           └─ events             delivery of notifications, if there are destinations; niced

The order of a start: bind (a taken port is told before anything is made) → make the site if there is none → open its
store (recovery) → root credentials → children → ready lines. The parent keeps the store open, so that the site is never
without a process attached to it, and answers on the admin port. SIGTERM and SIGINT end all, with requests in flight
drained; SIGHUP reads certificates again.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Mapping
from dataclasses import replace

from gateway.cli.admin_status import SiteStatus
from gateway.cli.child import Orders, encode_orders
from gateway.cli.credentials import ACCESS_KEY_VARIABLE, ensure_credentials
from gateway.cli.listener import bind_listener, bound_address, make_server_context
from gateway.cli.logs import configure_logs
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_OK
from gateway.cli.site import FirstStart, create_site, is_new_site
from gateway.cli.welcome import describe_first_start, describe_ready
from gateway.config import Config, parse_address
from gateway.config_reader import ENVIRONMENT_PREFIX
from gateway.events.destinations import parse_destinations
from gateway.events.positions import Position, PositionFile
from gateway.http.admin import serve_admin
from gateway.supervise import Role, Supervisor


def add_parser(subcommands: Subcommands) -> None:
    """Add ``serve``."""
    parser = new_command(
        subcommands,
        "serve",
        "Run a site. The first start makes it: realm, root key, recovery kit and credentials are printed once.",
        "skerry serve --data ./data --listen 127.0.0.1:9000",
    )
    add_site_options(parser, json=False)
    parser.add_argument("--listen", metavar="HOST:PORT", help="where S3 is answered (default 127.0.0.1:9000)")
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one per core)")
    parser.set_defaults(run=serve)


def serve(arguments: argparse.Namespace) -> int:
    """Run until told to end."""
    config = load_site_config(arguments)
    configure_logs(config.log.level, "server")
    os.umask(0o077)
    make_server_context(config.server)  # a certificate that cannot be used is told now
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(bind_listener(parse_address(config.server.listen)))
        admin = None
        if config.server.admin_listen:
            admin = stack.enter_context(bind_listener(parse_address(config.server.admin_listen)))
        first = create_site(config) if is_new_site(config) else None
        asyncio.run(_supervise(config, listener, admin, first, arguments.environment))
    return EXIT_OK


async def _supervise(
    config: Config,
    listener: socket.socket,
    admin: socket.socket | None,
    first: FirstStart | None,
    environment: Mapping[str, str],
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with opened_site(config) as site:
        if first is not None:
            print(describe_first_start(config, first), flush=True)
        _begin_events(config, site)
        made = await ensure_credentials(site.store, site.directory, environment)
        roles = _plan_roles(Orders(config, root_key=site.realm.root_key_text()), listener, strip_settings(environment))
        supervisor = Supervisor(roles, config.server.drain_timeout_s)
        loop.add_signal_handler(signal.SIGHUP, supervisor.reload)
        try:
            if not await _start(supervisor, stop):
                return
            scheme = "https" if config.server.tls_certificate_file else "http"
            endpoint = f"{scheme}://{bound_address(listener)}"
            admin_place = f"http://{bound_address(admin)}" if admin else ""
            given = bool(environment.get(ACCESS_KEY_VARIABLE))
            print(describe_ready(config, endpoint, admin_place, made, given=given), flush=True)
            await _run(supervisor, site, admin, stop)
        finally:
            await supervisor.stop()


def _begin_events(config: Config, site: OpenSite) -> None:
    """Events count from here on for destinations that are new, however long their process takes to start."""
    for name, _ in parse_destinations(config.notifications.destinations):
        newest = Position(site.replica.identity().incarnation, site.replica.last_seq())
        PositionFile(site.directory, name).begin(newest)


def strip_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What children get of the environment: not our settings (their orders have them), nor the secrets among these."""
    return {name: value for name, value in environment.items() if not name.startswith(ENVIRONMENT_PREFIX)}


async def _start(supervisor: Supervisor, stop: asyncio.Event) -> bool:
    """Start the children; False if the start was called off by ``stop``."""
    ended = asyncio.create_task(stop.wait())
    starting = asyncio.create_task(supervisor.start())
    await asyncio.wait({ended, starting}, return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        return False
    starting.result()
    return True


async def _run(supervisor: Supervisor, site: OpenSite, admin: socket.socket | None, stop: asyncio.Event) -> None:
    """Until ``stop``; raises what ended a keeper or the admin listener."""
    tasks = [asyncio.create_task(stop.wait()), asyncio.create_task(supervisor.wait_failed())]
    if admin is not None:
        status = SiteStatus(site, supervisor.is_ready)
        tasks.append(asyncio.create_task(serve_admin(admin, status, stop=stop, counters=site.counters)))
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        stop.set()
        for task in tasks[:2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _plan_roles(orders: Orders, listener: socket.socket, environment: Mapping[str, str]) -> list[Role]:
    config, told = orders.config, encode_orders(orders)
    workers = [
        Role(
            f"worker {number}",
            "gateway.cli.worker",
            encode_orders(replace(orders, number=number, listener=listener.fileno())),
            descriptors=(listener.fileno(),),
            vital=True,
            environment=environment,
        )
        for number in range(1, config.workers + 1)
    ]
    background = Role("background", "gateway.cli.background", told, environment=environment)
    children = [*workers, background]
    if config.notifications.destinations:
        children.append(Role("events", "gateway.cli.events", told, environment=environment))
    return children
