"""The witness on the network: one route of C2SP tlog-witness, POST /add-checkpoint, over HTTP.

It stands behind whatever its party uses for TLS; what it answers is signed and secret to nobody.
"""

import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cloud.audit.witness import REQUEST_SIZE_MAX, Answer, Witness

ROUTE = "/add-checkpoint"
TIMEOUT_S = 10.0  # for a client to say all of its request
CLIENTS_MAX = 32

log = logging.getLogger("cloud.witness")


class WitnessServer(ThreadingHTTPServer):
    """Answers until `shutdown`."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        """OSError when the address can not be listened at."""
        super().__init__(address, _Handler)
        self.witness = witness
        self.slots = threading.BoundedSemaphore(CLIENTS_MAX)


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    timeout = TIMEOUT_S
    server_version = "busbar-witness"
    sys_version = ""

    def do_POST(self) -> None:
        """One request."""
        if not self.server.slots.acquire(blocking=False):
            self._send(Answer(503, "too many clients\n"))
            return
        try:
            self._send(self._answer())
        finally:
            self.server.slots.release()

    def _answer(self) -> Answer:
        if self.path != ROUTE:
            return Answer(404, f"the route is {ROUTE}\n")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or int(length[:9]) > REQUEST_SIZE_MAX:
            return Answer(400, f"a request says its length, at most {REQUEST_SIZE_MAX} bytes\n")
        try:
            answer = self.server.witness.add_checkpoint(self.rfile.read(int(length)))
        except OSError as error:
            log.error("witness_failed error=%s", error.strerror)
            return Answer(500, "the witness could not keep it\n")
        log.info("checkpoint_judged status=%d", answer.status)
        return answer

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- its name there
        """Nothing: `_answer` tells what matters."""
