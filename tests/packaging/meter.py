"""A Modbus TCP meter for a container, which has Python and nothing else: every register is 0."""

import socketserver
import struct


class Meter(socketserver.BaseRequestHandler):
    """Answers the reads of functions 3 and 4."""

    def handle(self) -> None:
        """One request after the other, until the gateway hangs up."""
        while len(request := self.request.recv(260)) >= 12:
            transaction, unit, function, _, count = struct.unpack(">HxxxxBBHH", request[:12])
            head = struct.pack(">HHHBBB", transaction, 0, 3 + 2 * count, unit, function, 2 * count)
            self.request.sendall(head + bytes(2 * count))


class Server(socketserver.ThreadingTCPServer):
    """Starts again at once on its port."""

    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    with Server(("127.0.0.1", 1502), Meter) as server:
        server.serve_forever()
