"""Events to a broker: a small one on loopback that speaks as much of MQTT 3.1.1 as is needed."""

import json
import queue
import socket
import threading
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from videoswin.errors import ConfigError
from videoswin.live.mqtt import Broker, MqttEvents, topic_name

CONNECT, CONNACK, PUBLISH, PUBACK, DISCONNECT = 1, 2, 3, 4, 14


class Published(NamedTuple):
    topic: str
    text: str
    retain: bool


class SmallBroker:
    """Accepts one client after the other, acknowledges, and keeps what was published."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.published: queue.Queue[Published] = queue.Queue()
        self.connects: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            with client, client.makefile("rb") as stream:
                self._talk(client, stream)
            return

    def _talk(self, client: socket.socket, stream) -> None:
        while first := stream.read(1):
            kind, flags = first[0] >> 4, first[0] & 15
            length = shift = 0
            while True:
                byte = stream.read(1)[0]
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            body = stream.read(length)
            if kind == CONNECT:
                self.connects.append(body)
                client.sendall(bytes([CONNACK << 4, 2, 0, 0]))
            elif kind == PUBLISH:
                size = int.from_bytes(body[:2], "big")
                topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
                assert flags & 6 == 2  # at least once
                client.sendall(bytes([PUBACK << 4, 2]) + rest[:2])
                self.published.put(Published(topic, rest[2:].decode(), bool(flags & 1)))
            elif kind == DISCONNECT:
                return


@pytest.fixture
def broker() -> Iterator[SmallBroker]:
    found = SmallBroker()
    yield found
    found.close()


def take(broker: SmallBroker, count: int) -> list[Published]:
    return [broker.published.get(timeout=20) for _ in range(count)]


def test_events_and_discovery(broker: SmallBroker) -> None:
    events = MqttEvents(Broker.parse(f"mqtt://me@127.0.0.1:{broker.port}", {}), "front door", ("nod", "wave"))
    discovery, online, none = take(broker, 3)
    assert discovery.topic == "homeassistant/sensor/videoswin_front_door/label/config"
    config = json.loads(discovery.text)
    assert config["state_topic"] == "videoswin/front_door/label"
    assert config["options"] == ["none", "nod", "wave"]
    assert (online.text, online.retain, none.text) == ("online", True, "none")
    start = {"type": "start", "time_s": 1.5, "label": "wave", "score": 0.9}
    events.take({"type": "scores", "time_s": 1.0, "scores": {}})
    events.take(start)
    event, label = take(broker, 2)
    assert (event.topic, json.loads(event.text), event.retain) == ("videoswin/front_door/event", start, False)
    assert (label.topic, label.text, label.retain) == ("videoswin/front_door/label", "wave", True)
    events.take({**start, "type": "end", "time_s": 2.0})
    assert [one.text for one in take(broker, 2)][1] == "none"
    events.close()
    assert [one.text for one in take(broker, 2)] == ["none", "offline"]
    assert b"videoswin/front_door/state" in broker.connects[0]  # the last will
    assert events.dropped == 0


def test_a_broker_that_is_away_holds_nothing_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    events = MqttEvents(Broker("127.0.0.1", port), "x", ("nod",), discovery=None)
    for number in range(2000):
        events.take({"type": "start", "time_s": number, "label": "nod", "score": 1.0})
    assert events.dropped > 0  # what is kept is bounded
    events.close()


def test_addresses() -> None:
    environment = {"VIDEOSWIN_MQTT_PASSWORD": "secret"}
    assert Broker.parse("mqtt://host", environment) == Broker("host", 1883)
    assert Broker.parse("mqtts://me@host:99", environment) == Broker("host", 99, True, "me", "secret")
    for text in (
        "host",
        "http://host",
        "mqtt://",
        "mqtt://me:secret@host",
        "mqtt://host/topic",
        "mqtt://host:x",
        "mqtt://[",
    ):
        with pytest.raises(ConfigError) as refused:
            Broker.parse(text)
        assert "secret" not in str(refused.value)


def test_topics_hold_no_wildcards() -> None:
    assert topic_name("a/+/#") == "a"
    assert topic_name("") == "stream"
