"""A broker for a demo where no mosquitto is installed: amqtt, with its gaps closed. DEMO ONLY.

`hil.broker` runs it as `python -m hil.embedded_broker CONFIG.json`. What is guaranteed:

* TLS 1.3 with a client certificate from our CA, not on the revocation list read at start.
* The user is the certificate's common name; user name and password of the client are ignored.
* Every publish, will, subscription and delivery, retained or not, is judged by the rules of CONFIG.
* A client id belongs to its user: nobody can end, inherit or read another user's session.
* A session that a client keeps gets every QoS 1 message at least once while this process lives.
* A client that misses its keep-alive is dropped, and its will is sent.
* SIGTERM, SIGINT and the end of standard input (the parent is gone) end it with exit code 0.

Not here: MQTT 5, shared subscriptions, any state after the end of the process, and any limit on
memory but the one on a packet.
"""

import asyncio
import importlib.metadata
import json
import logging
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import amqtt.broker
from amqtt.adapters import ReaderAdapter, StreamReaderAdapter, StreamWriterAdapter, WriterAdapter
from amqtt.contexts import Action
from amqtt.errors import AMQTTError, MQTTError
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import OUTGOING, ApplicationMessage, Session

from hil.broker import AMQTT_VERSION, PACKET_SIZE_MAX, AclRule
from protocols.topics import is_name

USER = "busbar.user"  # session attribute; only _Handler sets it, and only from a certificate
HANDSHAKE_TIMEOUT_S = 10.0
SHUTDOWN_TIMEOUT_S = 3.0  # shorter than hil.broker.STOP_DEADLINE_S
_READ_SIZE = 4096

_ACCESS = {Action.PUBLISH: "write", Action.SUBSCRIBE: "read", Action.RECEIVE: "read"}


def covers(allowed: str, wanted: str) -> bool:
    """Whether filter `allowed` matches all topics that `wanted`, topic or filter, stands for."""
    wanted_levels = wanted.split("/")
    allowed_levels = allowed.split("/")
    for index, level in enumerate(allowed_levels):
        if level == "#":
            return True
        if index >= len(wanted_levels) or wanted_levels[index] == "#":
            return False
        if level not in ("+", wanted_levels[index]):
            return False
    return len(allowed_levels) == len(wanted_levels)


def is_allowed(rules: Sequence[AclRule], user: str, access: str, topic: str) -> bool:
    """Whether some rule lets `user` have `access` to all of `topic`, which may be a filter."""
    return any(
        rule.access == access
        and rule.user in (None, user)
        and covers(rule.filter.replace("%u", user), topic)
        for rule in rules
    )


def certificate_user(peer: ssl.SSLObject | None) -> str | None:
    """The common name of the client's verified certificate, None when it has no usable one.

    Only names that are gateway ids pass: `+`, `#` or `/` would make `%u` mean more than one user.
    """
    certificate: Any = (peer.getpeercert() if peer is not None else None) or {}
    names = [
        value
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    ]
    return names[0] if len(names) == 1 and is_name(names[0]) else None


class CertificateRules(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]
    """The plugin that amqtt asks who may come in and what they may do. No answer is ever yes for a
    session without a user from a certificate."""

    @dataclass
    class Config:
        """`rules`: the fields of each `AclRule`."""

        rules: list[list[str | None]]

    def __init__(self, context: Any) -> None:
        super().__init__(context)
        self._rules = [AclRule(*rule) for rule in self.config.rules]

    async def authenticate(self, *, session: Session) -> bool:
        """amqtt never asks about a will when it sends it, so a foreign one is refused here."""
        if session.attributes.get(USER) is None:
            return False
        return not session.will_flag or self.judge(session, session.will_topic, Action.PUBLISH)

    async def topic_filtering(
        self,
        *,
        session: Session | None = None,
        topic: str | None = None,
        action: Action | None = None,
    ) -> bool:
        """As `judge`, for the places where amqtt asks by itself."""
        return self.judge(session, topic, action)

    def judge(self, session: Session | None, topic: str | None, action: Action | None) -> bool:
        """Whether a rule allows this; `topic` is a filter when the action is to subscribe."""
        user = session.attributes.get(USER) if session is not None else None
        if user is None or not topic or action not in _ACCESS:
            return False
        return is_allowed(self._rules, user, _ACCESS[action], topic)


class _BoundedReader(StreamReaderAdapter):  # type: ignore[misc]
    """Ends the connection instead of reading what is too large; amqtt has no limit of its own."""

    async def read(self, n: int = -1) -> bytes:
        if n > PACKET_SIZE_MAX:
            raise AMQTTError(f"a packet of {n} bytes, {PACKET_SIZE_MAX} are allowed")
        data: bytes = await super().read(n)
        return data


class _Handler(BrokerProtocolHandler):  # type: ignore[misc]
    """One connection. Gives the session its user before amqtt looks for an older session."""

    is_serving = False  # False until amqtt has done what it does for every new connection

    @classmethod
    async def init_from_connect(
        cls, reader: ReaderAdapter, writer: WriterAdapter, plugins_manager: Any, loop: Any = None
    ) -> tuple["_Handler", Session]:
        handler, session = await super().init_from_connect(reader, writer, plugins_manager, loop)
        user = certificate_user(writer.get_ssl_info())
        if user is None:
            raise MQTTError("the client's certificate names no gateway")
        session.attributes[USER] = user
        session.username = user
        # amqtt finds, ends and hands over sessions by client id alone, and before it asks whether
        # the client may come in; and a session it finds keeps the certificate of its first owner.
        session.client_id = f"{user}/{session.client_id}"
        # MQTT gives a client one and a half times its keep-alive.
        session.keep_alive = (session.keep_alive * 3 + 1) // 2
        return handler, session

    def handle_read_timeout(self) -> None:
        """The keep-alive ran out. amqtt does nothing then, and a half-open client stays "on"."""
        self.logger.warning("keep-alive missed, closing")
        self._closing = asyncio.ensure_future(self.handle_connection_closed())

    async def _handle_qos1_message_flow(self, app_message: ApplicationMessage) -> None:
        session = self.session
        try:
            await super()._handle_qos1_message_flow(app_message)
        except BaseException:
            # The connection ended, or five seconds passed, without the client's acknowledgement.
            # amqtt drops the message then; at-least-once means that it waits for the next one.
            if app_message.direction == OUTGOING and session and not session.clean_session:
                session.retained_messages.put_nowait(app_message)
            raise


class EmbeddedBroker(amqtt.broker.Broker):  # type: ignore[misc]
    """amqtt's broker with a TLS context of ours and some of its methods replaced.

    They are private, so `main` refuses every amqtt but the one they were written against.
    """

    def __init__(self, settings: dict[str, Any]) -> None:
        self._tls = _tls_context(settings)
        plugin = f"{CertificateRules.__module__}.{CertificateRules.__name__}"
        super().__init__(
            {
                "listeners": {"default": {"bind": f"{settings['host']}:{settings['port']}"}},
                "plugins": {plugin: {"rules": settings["rules"]}},
            }
        )
        self._rules = self.plugins_manager.get_plugin(CertificateRules.__name__)

    async def _create_server_instance(
        self,
        listener_name: str,
        listener_type: Any,
        address: str | None,
        port: int,
        ssl_context: Any,
    ) -> asyncio.Server:
        # amqtt's own context makes the client certificate optional and cannot read a CRL.
        return await asyncio.start_server(
            partial(self.stream_connected, listener_name=listener_name),
            address,
            port,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
        )

    async def stream_connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        """As amqtt's, over a reader with a limit."""
        await self._client_connected(
            listener_name, _BoundedReader(reader), StreamWriterAdapter(writer)
        )

    async def _topic_filtering(self, session: Session, topic: str, action: Action) -> bool:
        # amqtt asks its plugins in tasks, and so yields in the middle of its loop over all
        # subscriptions: a subscription made at that moment breaks the loop and a message is lost.
        return bool(self._rules.judge(session, topic, action))

    async def _publish_retained_messages_for_subscription(
        self, subscription: tuple[str, int], session: Session
    ) -> None:
        # amqtt sends a client that connects all retained messages that *anybody* subscribed to,
        # and never asks whether the client may have them. Nothing is due before it subscribes.
        # Sent without waiting, for the reason above.
        topic_filter, qos = subscription
        handler = self._get_handler(session)
        if handler is None or not handler.is_serving:
            return
        for topic, message in self._retained_messages.items():
            if self._matches(topic, topic_filter) and self._rules.judge(
                session, topic, Action.RECEIVE
            ):
                self._send(handler, topic, message.data, min(qos, message.qos or 0), retain=True)

    async def _publish_session_retained_messages(self, session: Session) -> None:
        # What waited for the client. amqtt sets RETAIN on these; a gateway refuses such an order.
        handler = self._get_handler(session)
        while handler is not None and not session.retained_messages.empty():
            message = session.retained_messages.get_nowait()
            self._send(handler, message.topic, message.data, message.qos, retain=False)

    async def _client_message_loop(self, client_session: Session, handler: _Handler) -> None:
        handler.is_serving = True
        await self._revive(client_session)
        await super()._client_message_loop(client_session, handler)

    async def _handle_disconnect(
        self, client_session: Session, handler: _Handler, disconnect_waiter: Any
    ) -> None:
        if self._get_handler(client_session) is handler:
            # From here on what comes for the client waits in its session. amqtt would go on to send
            # it into a connection that is being closed.
            client_session.transitions.disconnect()
        await super()._handle_disconnect(client_session, handler, disconnect_waiter)
        current = self._get_handler(client_session)
        if current is not handler and current is not None and current.is_serving:
            await self._revive(client_session)

    async def _revive(self, session: Session) -> None:
        # A client that comes back before its old connection is found dead takes that over. amqtt
        # then ends the old connection on the session that both share, before or after the new one
        # has begun, and the client is connected and hears nothing until it connects once more.
        if not session.transitions.is_connected():
            session.transitions.connect()
            await self._publish_session_retained_messages(session)

    def _send(
        self, handler: BrokerProtocolHandler, topic: str, data: bytes, qos: int, *, retain: bool
    ) -> None:
        task = asyncio.ensure_future(handler.mqtt_publish(topic, data, qos, retain=retain))
        self._tasks_queue.append(task)  # the broadcast loop collects their results


def _tls_context(settings: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(settings["ca"])
    context.load_cert_chain(settings["certificate"], settings["key"])
    context.verify_mode = ssl.CERT_REQUIRED
    if settings["crl"] is not None:
        context.load_verify_locations(settings["crl"])
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


async def serve(settings: dict[str, Any]) -> None:
    """Serve until a signal or the end of standard input; raises when the port cannot be had."""
    is_ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, is_ended.set)

    def read_stdin() -> None:
        if not os.read(sys.stdin.fileno(), _READ_SIZE):
            loop.remove_reader(sys.stdin.fileno())
            is_ended.set()

    loop.add_reader(sys.stdin.fileno(), read_stdin)
    broker = EmbeddedBroker(settings)
    await broker.start()
    await is_ended.wait()
    try:
        await asyncio.wait_for(broker.shutdown(), SHUTDOWN_TIMEOUT_S)
    except TimeoutError:
        # From Python 3.12 on a server waits for clients that connected and never said a word.
        logging.getLogger(__name__).warning("clients were still connected")


def main(arguments: Sequence[str]) -> int:
    """Run with the path of CONFIG.json as the only argument."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("transitions").setLevel(logging.WARNING)
    version = importlib.metadata.version("amqtt")
    if version != AMQTT_VERSION:
        print(f"this mends amqtt {AMQTT_VERSION} and cannot run {version}", file=sys.stderr)
        return 1
    # amqtt offers no other way to have its connections handled by a class of ours.
    amqtt.broker.BrokerProtocolHandler = _Handler
    asyncio.run(serve(json.loads(Path(arguments[0]).read_text(encoding="utf-8"))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
