"""MQTT and NATS against small brokers of our own: what is published, acknowledged, refused, and begun anew."""

import asyncio
import json

import pytest

from gateway.events.follower import NotTaken

pytest.importorskip("aiomqtt")
pytest.importorskip("nats")
from gateway.events.mqtt_sender import MqttSender
from gateway.events.nats_sender import NatsSender


class Broker:
    """A server on loopback. ``silent``: it takes messages and acknowledges nothing."""

    def __init__(self, talk):
        self._talk = talk
        self.messages = []
        self.logins = []
        self.silent = False
        self._writers = set()

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    def drop(self):
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader, writer):
        self._writers.add(writer)
        try:
            await self._talk(self, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


def text_at(data, at):
    size = int.from_bytes(data[at : at + 2], "big")
    return data[at + 2 : at + 2 + size].decode(), at + 2 + size


async def talk_mqtt(broker, reader, writer):
    """Enough of MQTT 3.1.1: CONNECT, PUBLISH with QoS 1, PINGREQ."""
    while True:
        head = (await reader.readexactly(1))[0]
        size = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        body = await reader.readexactly(size)
        if head >> 4 == 1:
            assert body[:7] == b"\0\4MQTT\4"  # 3.1.1
            _, at = text_at(body, 10)
            login = []
            while at < len(body):
                word, at = text_at(body, at)
                login.append(word)
            broker.logins.append(login)
            writer.write(b"\x20\x02\0\0")
        elif head >> 4 == 3:
            assert head & 0x06 == 0x02  # QoS 1
            topic, at = text_at(body, 0)
            broker.messages.append((topic, body[at + 2 :]))
            if not broker.silent:
                writer.write(b"\x40\x02" + body[at : at + 2])
        elif head >> 4 == 12:
            writer.write(b"\xd0\0")
        elif head >> 4 == 14:
            return


async def talk_nats(broker, reader, writer):
    """Enough of NATS: INFO, CONNECT, PUB, PING."""
    info = {"server_id": "x", "version": "2.10.0", "max_payload": 1 << 20, "proto": 1, "headers": True}
    writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
    while line := await reader.readline():
        words = line.split()
        if words[0] == b"CONNECT":
            found = json.loads(line[8:])
            broker.logins.append([found[name] for name in ("user", "pass") if name in found])
        elif words[0] == b"PUB":
            payload = await reader.readexactly(int(words[-1]) + 2)
            broker.messages.append((words[1].decode(), payload[:-2]))
        elif words[0] == b"PING" and not (broker.silent and broker.messages):
            writer.write(b"PONG\r\n")


KINDS = {
    "mqtt": (talk_mqtt, MqttSender, "plant/events", "plant/events"),
    "nats": (talk_nats, NatsSender, "plant.events", "plant.events"),
}


@pytest.fixture(params=KINDS)
async def kind(request):
    """(a running broker, how to make a sender for it, the topic)"""
    talk, make, path, topic = KINDS[request.param]
    async with Broker(talk) as broker:

        def sender(login="", timeout_s=5.0):
            return make(f"{request.param}://{login}127.0.0.1:{broker.port}/{path}", timeout_s)

        yield broker, sender, topic


async def test_messages_are_published_over_one_connection(kind):
    broker, make, topic = kind
    sender = make("us%40er:pass@")
    for number in range(3):
        await sender.send(b'{"n": %d}' % number)
    await sender.close()
    assert broker.messages == [(topic, b'{"n": %d}' % number) for number in range(3)]
    assert broker.logins == [["us@er", "pass"]]


async def test_what_is_not_acknowledged_is_not_taken(kind):
    broker, make, _ = kind
    broker.silent = True
    sender = make(timeout_s=1.0)
    with pytest.raises(NotTaken):
        await sender.send(b"{}")
    broker.silent = False
    await sender.send(b"again")
    await sender.close()
    assert broker.messages[-1][1] == b"again"


async def test_a_lost_connection_is_made_anew(kind):
    broker, make, _ = kind
    sender = make()
    await sender.send(b"one")
    broker.drop()
    for _ in range(50):
        try:
            await sender.send(b"two")
            break
        except NotTaken:
            await asyncio.sleep(0)
    await sender.close()
    assert broker.messages[-1][1] == b"two"


async def test_nobody_there(kind):
    broker, make, _ = kind
    sender = make(timeout_s=1.0)
    await broker.__aexit__()
    with pytest.raises(NotTaken):
        await sender.send(b"{}")
    await sender.close()
