"""Events of a stream to an MQTT broker, for homes and factories; with Home Assistant's discovery the label shows up by itself.

    videoswin/NAME/label     what holds now, "none" in between; kept by the broker
    videoswin/NAME/event     each start and end, as JSON
    videoswin/NAME/state     online or offline; offline is the broker's word if this program is gone

The connection is paho's, in a thread of its own: it waits for a broker that is away and connects again. A stream never waits
for it; what cannot be sent is dropped once the client's own bounded queue is full, and counted.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from videoswin.errors import ConfigError, MissingExtraError

__all__ = ["Broker", "MqttEvents"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_QUEUED = 1000
_AT_LEAST_ONCE = 1
_HINT = "Write mqtt://HOST[:PORT], with TLS mqtts://, with a user mqtt://USER@HOST and the password in VIDEOSWIN_MQTT_PASSWORD."


@dataclass(frozen=True)
class Broker:
    """Where a broker is."""

    host: str
    port: int
    tls: bool = False
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str] = os.environ) -> "Broker":
        """An address ``mqtt://[USER@]HOST[:PORT]`` or ``mqtts://``. The password comes from VIDEOSWIN_MQTT_PASSWORD: on a
        command line everybody on the machine could read it.

        Raises:
            ConfigError: it is none, or holds a password.
        """
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"This is no address of a broker. {_HINT}") from error
        if parts.scheme not in _PORTS or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ConfigError(f"This is no address of a broker. {_HINT}")
        if parts.password is not None:
            raise ConfigError(f"The address of the broker holds a password. {_HINT}")
        user = unquote(parts.username) if parts.username else None
        password = environment.get("VIDEOSWIN_MQTT_PASSWORD") if user else None
        return cls(parts.hostname, port or _PORTS[parts.scheme], parts.scheme == "mqtts", user, password)


class MqttEvents:
    """Connects at once, in the background.

    Args:
        name: of the stream or the machine; part of the topics.
        labels: what may hold.
        discovery: Home Assistant's prefix, usually "homeassistant"; None: it is not told.

    Raises:
        MissingExtraError: the extra ``mqtt`` is not installed.
    """

    def __init__(
        self, broker: Broker, name: str, labels: Sequence[str], discovery: str | None = "homeassistant"
    ) -> None:
        try:
            from paho.mqtt.client import Client
            from paho.mqtt.enums import CallbackAPIVersion
        except ImportError as error:
            raise MissingExtraError(
                f"Sending to a broker needs paho-mqtt ({error}). pip install 'videoswin[mqtt]'"
            ) from error
        self.name = topic_name(name)
        self.base = f"videoswin/{self.name}"
        self.dropped = 0
        self._labels, self._discovery, self._holds = list(labels), discovery, "none"
        self._client = client = Client(CallbackAPIVersion.VERSION2, client_id=f"videoswin-{self.name}-{os.getpid()}")
        client.max_queued_messages_set(_QUEUED)
        client.reconnect_delay_set(1, 60)
        client.will_set(f"{self.base}/state", "offline", _AT_LEAST_ONCE, retain=True)
        if broker.user:
            client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            client.tls_set()
        client.on_connect = self._connected
        client.connect_async(broker.host, broker.port)
        client.loop_start()

    def take(self, message: Mapping[str, Any]) -> None:
        """A message of a stream (:mod:`videoswin.live.messages`); starts and ends are sent, others are not."""
        kind = message.get("type")
        if kind not in ("start", "end"):
            return
        self._publish("event", json.dumps(dict(message)), retain=False)
        self._holds = str(message["label"]) if kind == "start" else "none"
        self._publish("label", self._holds, retain=True)

    def close(self) -> None:
        """Say that it is over, and let what waits be sent, for a moment."""
        self._publish("label", "none", retain=True)
        last = self._publish("state", "offline", retain=True)
        if self._client.is_connected() and last is not None:
            with suppress(ValueError, RuntimeError):  # the queue was full, or the connection just broke
                last.wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _publish(self, topic: str, text: str, retain: bool) -> Any:
        sent = self._client.publish(f"{self.base}/{topic}", text, _AT_LEAST_ONCE, retain)
        if sent.rc not in (0, 4):  # done, or waiting for the connection
            self.dropped += 1
            return None
        return sent

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        """Also after each time that the connection was lost."""
        if reason.is_failure:
            return
        if self._discovery:
            for topic, config in self._announcements():
                client.publish(f"{self._discovery}/{topic}/config", json.dumps(config), _AT_LEAST_ONCE, True)
        client.publish(f"{self.base}/state", "online", _AT_LEAST_ONCE, True)
        client.publish(f"{self.base}/label", self._holds, _AT_LEAST_ONCE, True)

    def _announcements(self) -> list[tuple[str, dict[str, Any]]]:
        """What Home Assistant makes of it: a sensor that shows the label."""
        unique = f"videoswin_{self.name}"
        config = {
            "name": "Label",
            "unique_id": f"{unique}_label",
            "state_topic": f"{self.base}/label",
            "availability_topic": f"{self.base}/state",
            "json_attributes_topic": f"{self.base}/event",
            "device_class": "enum",
            "options": ["none", *(label for label in self._labels if label != "none")],
            "icon": "mdi:motion-sensor",
            "device": {"identifiers": [unique], "name": f"videoswin {self.name}", "manufacturer": "videoswin"},
        }
        return [(f"sensor/{unique}/label", config)]


def topic_name(text: str) -> str:
    """A name that topics may hold: letters, digits, - and _.

    >>> topic_name("rtsp://door/1")
    'rtsp_door_1'
    """
    return re.sub(r"[^A-Za-z0-9-]+", "_", text).strip("_")[:60] or "stream"
