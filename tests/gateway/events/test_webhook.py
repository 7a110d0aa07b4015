"""Messages by HTTP: what is posted, and what counts as taken."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from gateway.events.destinations import check_authorization, check_destinations, parse_destinations
from gateway.events.follower import NotTaken
from gateway.events.webhook import WebhookSender


@pytest.fixture
async def hook():
    """A server that keeps what it is sent and answers ``status``; (server, seen, set_status)."""
    seen, statuses = [], [200]

    async def take(request):
        seen.append((dict(request.headers), await request.read()))
        return web.Response(status=statuses[0], headers={"Location": "/elsewhere"})

    application = web.Application()
    application.router.add_post("/hook", take)
    async with TestServer(application) as server:
        yield server, seen, lambda status: statuses.__setitem__(0, status)


async def test_a_message_is_posted(hook):
    server, seen, _ = hook
    sender = WebhookSender(str(server.make_url("/hook")), "Bearer token")
    await sender.send(b'{"Records":[]}')
    await sender.close()
    ((headers, body),) = seen
    assert body == b'{"Records":[]}'
    assert (headers["Content-Type"], headers["Authorization"]) == ("application/json", "Bearer token")


@pytest.mark.parametrize("status", [301, 400, 403, 500, 503])
async def test_other_answers_are_not_taken(hook, status):
    server, seen, set_status = hook
    set_status(status)
    sender = WebhookSender(str(server.make_url("/hook")))
    with pytest.raises(NotTaken, match=str(status)):
        await sender.send(b"{}")
    await sender.close()
    assert len(seen) == 1


async def test_nobody_there(hook):
    server, _, _ = hook
    url = str(server.make_url("/hook"))
    await server.close()
    sender = WebhookSender(url, timeout_s=1)
    with pytest.raises(NotTaken, match="reached"):
        await sender.send(b"{}")
    await sender.close()


def test_destinations():
    assert parse_destinations(("a=https://host/x?y=z", "b=http://[::1]:80/"))[0].url == "https://host/x?y=z"
    for wrong in (
        "nothing",
        "a b=http://host",
        "a=ftp://host",
        "a=https:///x",
        "a=mqtt://host/",
        "a=nats://host",
        "a=amqp://host/q",
    ):
        assert check_destinations((wrong,)), wrong
    assert check_destinations(("a=http://x", "a=http://y"))
    assert check_destinations(()) is None
    assert check_authorization(("a=Bearer x",)) is None
    assert "secret" not in check_authorization(("secret",))
