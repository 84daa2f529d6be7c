"""The one file that talks MQTT: subscribes, hands messages to the mailbox, publishes what is
sealed.

* A message is acknowledged to the broker only when its `acknowledge` is called, after the commit;
  so what a crash loses, the broker delivers again.
* Each connection has a paho client of its own: nothing that paho queued in memory outlives it, and
  an acknowledgement of an old connection can not meet a new message of the same number. The session
  is the broker's, under a fixed client id.
* Reconnecting waits a random time of 0 to a limit that doubles, 1 s to 60 s, so that head ends do
  not return in step.
* paho's callbacks only put into the mailbox. When it is full they wait a little, and so does the
  broker; after that the message is left with the broker, and the connection is made anew once what
  waits is stored, so that it comes again.
"""

import contextlib
import logging
import random
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from cloud.ingest.acks import Outbound
from cloud.ingest.mailbox import Connected, Disconnected, Mailbox, Message, Published, Starved
from cloud.settings import Settings
from protocols import topics
from protocols.messages import UPLINK_BY_SUFFIX

log = logging.getLogger("cloud.mqtt")

RETRY_S_MIN = 1
RETRY_S_MAX = 60
SESSION_EXPIRY_S = 7 * 86_400  # how long the broker keeps messages for us (MQTT 5)
CONNECT_TIMEOUT_S = 10.0
OUTBOUND_MESSAGES_MAX = 10_000  # handed to paho and not yet taken by the broker
OUTBOUND_INFLIGHT_MAX = 20  # of those, on the wire
CLOSE_TIMEOUT_S = 3.0
ROOM_WAIT_MS = 2000  # for the mailbox; below half of the shortest keepalive, so pings are in time
ROOM_SLICE_MS = 100
SUBSCRIBED = (*UPLINK_BY_SUFFIX, topics.PRESENCE)


def tls_context(identity_dir: Path) -> ssl.SSLContext:
    """TLS 1.3 with our client certificate, trusting our authority alone. OSError (ssl.SSLError is
    one) when a file is not what it should be."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(identity_dir / "ca.pem")
    context.load_cert_chain(identity_dir / "tls.pem", identity_dir / "tls.key")
    return context


class _Client(mqtt.Client):
    """One connection. paho's network thread may die of a packet it does not understand; `ended`
    tells that it has, whatever the reason."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.ended = threading.Event()

    def loop_forever(
        self, timeout: float = 1.0, retry_first_connection: bool = False
    ) -> MQTTErrorCode:
        try:
            return super().loop_forever(timeout, retry_first_connection)
        except Exception as error:  # noqa: BLE001 -- whatever a broker sends, we come back
            log.warning("broker_failed error=%s", _words(error))
            return MQTTErrorCode.MQTT_ERR_UNKNOWN
        finally:
            self.ended.set()


class MqttSource:
    """One broker, one session. Events go to the mailbox; `publish` may be called from one
    thread."""

    def __init__(
        self,
        settings: Settings,
        context: ssl.SSLContext | None,
        mailbox: Mailbox,
        chance: random.Random,
    ) -> None:
        self._settings = settings
        self._context = context
        self._mailbox = mailbox
        self._chance = chance
        self._client: mqtt.Client | None = None  # while the broker takes what we send
        self._lock = threading.Lock()  # of the next two, between publish and _on_publish
        self._tracked: dict[tuple[mqtt.Client, int], bytes | None] = {}
        self._early: set[tuple[mqtt.Client, int]] = set()  # taken before publish had returned
        self._stopping = threading.Event()
        self._is_starved = False
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)

    # ---- life -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Connect, and stay connected, until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Close the connection; the broker keeps the session."""
        self._stopping.set()
        client = self._client
        if client is not None:
            client.disconnect()
        if self._thread.is_alive():
            self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        retry_s = RETRY_S_MIN
        while not self._stopping.is_set():
            client = self._make_client()
            self._is_starved = False
            try:
                self._connect(client)
                client.loop_start()
                self._await_end(client)
            except Exception as error:  # noqa: BLE001 -- whatever a broker sends, we come back
                log.warning("broker_failed error=%s", _words(error))
            was_connected = self._lose(client)
            retry_s = RETRY_S_MIN if was_connected else min(2 * retry_s, RETRY_S_MAX)
            self._stopping.wait(self._chance.uniform(0, retry_s))

    def _await_end(self, client: "_Client") -> None:
        while not client.ended.wait(CLOSE_TIMEOUT_S):
            if self._stopping.is_set():
                return  # a broker that does not read; closing the socket ends it

    def _make_client(self) -> "_Client":
        is_v5 = self._settings.version == 5
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"busbar-head-end-{self._settings.tenant}",
            clean_session=None if is_v5 else False,
            protocol=mqtt.MQTTv5 if is_v5 else mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(OUTBOUND_INFLIGHT_MAX)
        client.max_queued_messages_set(OUTBOUND_MESSAGES_MAX)
        if self._context is not None:
            client.tls_set_context(self._context)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = lambda _client, _data, message: self._on_message(client, message)
        client.on_publish = self._on_publish
        return client

    def _connect(self, client: mqtt.Client) -> None:
        settings = self._settings
        if settings.version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY_S
            properties.ReceiveMaximum = settings.queue_messages
            client.connect(
                settings.host,
                settings.port,
                settings.keepalive_s,
                clean_start=False,
                properties=properties,
            )
        else:
            client.connect(settings.host, settings.port, settings.keepalive_s)

    def _lose(self, client: mqtt.Client) -> bool:
        """Forget the client; whether it was connected."""
        was_connected = self._client is client
        self._client = None
        with self._lock:
            self._tracked.clear()
            self._early.clear()
        if was_connected and not self._stopping.is_set():
            log.warning("broker_lost host=%s port=%d", self._settings.host, self._settings.port)
        if was_connected:
            self._mailbox.put(Disconnected())
        sock: Any = client.socket()
        if sock is not None:
            sock.close()
        return was_connected

    # ---- publishing: from the writer's thread ---------------------------------------------------

    def publish(self, message: Outbound) -> bool:
        """Hand a message to the connection; False when there is none or it is full."""
        return self._publish(message, None)

    def publish_tracked(self, message: Outbound, token: bytes) -> bool:
        """The same; `Published(token)` comes when the broker took it."""
        return self._publish(message, token)

    def renew(self) -> None:
        """Connect anew, so that the broker delivers again what was not acknowledged."""
        client = self._client
        if client is not None:
            client.disconnect()

    def _publish(self, message: Outbound, token: bytes | None) -> bool:
        client = self._client
        if client is None:
            return False
        properties = None
        if self._settings.version == 5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.MessageExpiryInterval = message.expiry_s
        # Not under our lock: paho holds one of its own when it calls _on_publish.
        info = client.publish(
            message.topic, message.payload, qos=1, retain=False, properties=properties
        )
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            return False
        with self._lock:
            is_taken = (client, info.mid) in self._early
            self._early.discard((client, info.mid))
            if not is_taken:
                self._tracked[(client, info.mid)] = token
        if is_taken and token is not None:
            self._mailbox.put(Published(token))
        return True

    # ---- callbacks: in the network thread, must not raise -------------------------------

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _more: object
    ) -> None:
        if code.is_failure:
            log.error("broker_refused reason=%r", str(code))
            return
        root = f"busbar/{topics.VERSION}/{self._settings.tenant}/+/"
        client.subscribe([(root + suffix, 1) for suffix in SUBSCRIBED])

    def _on_subscribe(
        self,
        client: mqtt.Client,
        _data: object,
        _mid: int,
        codes: list[ReasonCode],
        _more: object,
    ) -> None:
        for suffix, code in zip(SUBSCRIBED, codes, strict=False):
            if code.is_failure:
                log.error("subscription_refused topic=%s reason=%r", suffix, str(code))
        self._client = client
        log.info("broker_connected host=%s port=%d", self._settings.host, self._settings.port)
        self._mailbox.put(Connected())

    def _on_message(self, client: "_Client", message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # refused as no topic of ours
        taken = Message(
            topic, bytes(message.payload), message.retain, self._acknowledger(client, message)
        )
        if not self._has_room_for(taken) and not self._is_starved:
            log.error("mailbox_filled messages=%d", len(self._mailbox))
            self._is_starved = True
            self._mailbox.put(Starved())

    def _has_room_for(self, message: Message) -> bool:
        """Put it into the mailbox. Waiting here keeps the socket unread, so the broker waits too;
        brokers do send more than Receive Maximum allows (mosquitto 2.0.11 does)."""
        waited_ms = 0
        while not self._mailbox.put_message(message, ROOM_SLICE_MS):
            waited_ms += ROOM_SLICE_MS
            if self._is_starved or self._stopping.is_set() or waited_ms >= ROOM_WAIT_MS:
                return False
        return True

    def _acknowledger(self, client: "_Client", message: mqtt.MQTTMessage) -> Callable[[], None]:
        mid, qos = message.mid, message.qos

        def acknowledge() -> None:
            # On a connection that is gone there is nobody to tell: the broker delivers again.
            if not client.ended.is_set():
                with contextlib.suppress(OSError):
                    client.ack(mid, qos)

        return acknowledge

    def _on_publish(
        self, client: mqtt.Client, _data: object, mid: int, code: ReasonCode, _more: object
    ) -> None:
        if code.is_failure:
            log.error("publish_refused reason=%r", str(code))
        with self._lock:
            if (client, mid) not in self._tracked:
                if not code.is_failure:
                    self._early.add((client, mid))
                return
            token = self._tracked.pop((client, mid))
        if token is not None and not code.is_failure:
            self._mailbox.put(Published(token))


def _words(error: Exception) -> str:
    text = f"({error})" if isinstance(error, OSError) else ""
    return type(error).__name__ + text
