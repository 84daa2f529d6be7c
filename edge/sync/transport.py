"""A thin MQTT client over paho: connects, publishes, hands on what comes, and keeps nothing.

* The outbox is the queue. A connection gets a fresh paho client, so paho's own memory of unsent
  messages (which it releases all at once, window or not) never lives longer than its connection.
* Reconnecting waits 1 s .. `reconnect_s_max` with full jitter: a region of gateways must not come
  back in one second.
* A broker's PUBACK proves nothing; its refusals (a v5 reason code) are handed on as hints.
* Callbacks run in paho's thread and only put an event into the queue.
"""

import logging
import queue
import random
import ssl
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.sync.identity import TlsFiles

SESSION_EXPIRY_S = 7 * 86_400
RECEIVE_MAX = 8  # messages that the broker may send before we acknowledge
INFLIGHT_MAX = 64  # paho's own limit; ours (the window) is below it
EVENTS_MAX = 1_000
BACKOFF_S_FIRST = 1
_CONNECT_TIMEOUT_S = 15
_NO_SUBSCRIBER = 0x10  # a v5 PUBACK that is no failure, and yet nobody has the message

log = logging.getLogger("edge.transport")


class Connected(NamedTuple):
    """The broker accepted us; subscriptions are under way."""


class Disconnected(NamedTuple):
    """The connection is gone."""

    reason: str


class Arrived(NamedTuple):
    """A message for us. `acknowledge` tells the broker that it is ours now."""

    topic: str
    payload: bytes
    retained: bool
    acknowledge: Callable[[], None]


class Refused(NamedTuple):
    """The broker took a message and says that nobody will get it."""

    reason: str


class Transport:
    """One gateway's connection. `emit` takes the events above; it must not block."""

    def __init__(
        self,
        settings: dict[str, Any],
        client_id: str,
        subscriptions: tuple[str, ...],
        presence_topic: str,
        tls: TlsFiles | None,
        emit: Callable[[object], None],
        jitter: random.Random,
    ) -> None:
        self._settings = settings
        self._client_id = client_id
        self._subscriptions = subscriptions
        self._presence = presence_topic
        self._tls = tls
        self._emit = emit
        self._jitter = jitter
        self._client: mqtt.Client | None = None
        self._stopping = threading.Event()
        self._connected = False
        self._thread = threading.Thread(target=self._run, name="mqtt")

    def start(self) -> None:
        """Connects in the background, again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Says goodbye and ends the thread."""
        self._stopping.set()
        client = self._client
        if client is not None:
            if self._connected:
                client.publish(self._presence, b"off", qos=1, retain=True)
            client.disconnect()
        self._thread.join()

    def publish(self, topic: str, payload: bytes) -> bool:
        """Hands a message to the connection that stands; False when there is none."""
        client = self._client
        if client is None or not self._connected:
            return False
        return client.publish(topic, payload, qos=1).rc == mqtt.MQTT_ERR_SUCCESS

    def _run(self) -> None:
        backoff_s = BACKOFF_S_FIRST
        while not self._stopping.is_set():
            self._connected = False
            try:
                self._client = client = self._make_client()
                self._connect(client)
                client.loop_forever(retry_first_connection=False)
            except (OSError, ValueError) as error:
                log.info("broker_unreached reason=%r", str(error))
            if self._connected:
                backoff_s = BACKOFF_S_FIRST
                self._connected = False
            self._stopping.wait(self._jitter.uniform(0, backoff_s))
            backoff_s = min(2 * backoff_s, self._settings["reconnect_s_max"])

    def _make_client(self) -> mqtt.Client:
        v5 = self._settings["version"] == 5
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if v5 else False,
            protocol=mqtt.MQTTv5 if v5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(INFLIGHT_MAX)
        client.max_queued_messages_set(INFLIGHT_MAX)
        client.will_set(self._presence, b"lost", qos=1, retain=True)
        if self._tls is not None:
            context = ssl.create_default_context(cafile=str(self._tls.ca))
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.load_cert_chain(str(self._tls.certificate), str(self._tls.key))
            client.tls_set_context(context)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        return client

    def _connect(self, client: mqtt.Client) -> None:
        arguments: dict[str, Any] = {"keepalive": self._settings["keepalive_s"]}
        if self._settings["version"] == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = RECEIVE_MAX
            arguments |= {"clean_start": False, "properties": properties}
        client.connect(self._settings["host"], self._settings["port"], **arguments)

    # ---- paho's thread --------------------------------------------------------------------------

    def _on_connect(
        self, client: mqtt.Client, _: object, __: object, reason: Any, ___: object
    ) -> None:
        if reason.is_failure:
            log.warning("broker_refused reason=%r", str(reason))
            client.disconnect()
            return
        self._connected = True
        if self._settings["version"] == 5:
            # Retain as published: an order that somebody had the broker keep shows it at once.
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            client.subscribe([(topic, options) for topic in self._subscriptions])
        else:
            client.subscribe([(topic, 1) for topic in self._subscriptions])
        client.publish(self._presence, b"on", qos=1, retain=True)
        self._emit(Connected())

    def _on_disconnect(
        self, _: mqtt.Client, __: object, ___: object, reason: Any, ____: object
    ) -> None:
        self._emit(Disconnected(str(reason)))

    def _on_message(self, client: mqtt.Client, _: object, message: mqtt.MQTTMessage) -> None:
        def acknowledge() -> None:
            client.ack(message.mid, message.qos)

        self._emit(Arrived(message.topic, bytes(message.payload), message.retain, acknowledge))

    def _on_publish(self, _: mqtt.Client, __: object, ___: int, reason: Any, ____: object) -> None:
        if reason.is_failure or reason.value == _NO_SUBSCRIBER:
            self._emit(Refused(str(reason)))


def event_queue() -> "queue.Queue[object]":
    """The bounded queue between paho's thread and the session; full, it drops nothing silently:
    paho's thread waits, and the broker holds its messages."""
    return queue.Queue(EVENTS_MAX)
