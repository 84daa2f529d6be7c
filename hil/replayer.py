"""`busbar-hil replay`: the meters' side of a transcript, by its bytes alone.

* A request is answered when its bytes are those of the transcript, each and no other: the next one
  of the transcript, or with `any_order` any one of it.
* The answer comes as it was recorded, each event at its time after the request's first byte. A
  request that got no answer gets none.
* With `any_order`, a request that was recorded several times gets the next answer each time, and
  then the last one again: what a meter counts never goes back.
* Any other request gets silence, is told, and makes the exit code 1; so does, in order, a request
  of the transcript that nobody sent.
* What the meters said before the first request answers nothing and is left out.

It knows no protocol.
"""

import heapq
import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hil.pseudo_tty import read_waiting
from hil.transcript import (
    EVENT_SIZE_MAX,
    TO_METER,
    Transcript,
    load_transcript,
    silence_s,
)
from hil.tty_link import linked_pty, stop_signals, wait_readable, write_all
from protocols.errors import SettingError

BAUD_UNKNOWN = 2400  # the slowest usual one, for a transcript that does not say

Answer = tuple[tuple[int, bytes], ...]  # (ms after the request's first byte, bytes), ...
Tell = Callable[[str], None]


class Exchange(NamedTuple):
    """A request and all that came before the next one."""

    request: bytes
    answer: Answer


def exchanges_of(transcript: Transcript) -> list[Exchange]:
    """The exchanges of a transcript, in order."""
    found: list[tuple[int, bytes, list[tuple[int, bytes]]]] = []
    for event in transcript.events:
        if event.direction == TO_METER:
            found.append((event.ms, event.data, []))
        elif found:
            found[-1][2].append((event.ms - found[-1][0], event.data))
    return [Exchange(request, tuple(answer)) for _, request, answer in found]


class Playback:
    """Which bytes answer which, without a clock. `answered` and `unknown` count requests."""

    def __init__(self, transcript: Transcript, any_order: bool = False) -> None:
        self.answered = 0
        self.unknown = 0
        self._exchanges = exchanges_of(transcript)
        self._any_order = any_order
        self._heard = b""

    def left(self) -> list[bytes]:
        """The requests that may still be answered."""
        return [one.request for one in self._exchanges]

    def is_silent(self) -> bool:
        """Whether no request has begun."""
        return not self._heard

    def hear(self, data: bytes) -> Answer | None:
        """The answer as soon as the request is whole, whatever may follow; None before."""
        self._heard = (self._heard + data)[: EVENT_SIZE_MAX + 1]
        if any(one.startswith(self._heard) and one != self._heard for one in self._awaited()):
            return None  # it may become a longer one
        return self._answer()

    def fall_silent(self) -> tuple[Answer | None, bytes]:
        """The line fell silent: (the answer to what was heard, or what nobody knows)."""
        answer, heard = self._answer(), self._heard
        self._heard = b""
        if answer is not None or not heard:
            return answer, b""
        self.unknown += 1
        return None, heard

    def _awaited(self) -> list[bytes]:
        some = self._exchanges if self._any_order else self._exchanges[:1]
        return [one.request for one in some]

    def _answer(self) -> Answer | None:
        awaited = self._awaited()
        if self._heard not in awaited:
            return None
        at = awaited.index(self._heard)
        self._heard = b""
        self.answered += 1
        if self._any_order and awaited.count(awaited[at]) == 1:
            return self._exchanges[at].answer  # the last one holds
        return self._exchanges.pop(at).answer


def serve(
    transcript: Transcript,
    link: Path,
    stop: int,
    tell: Tell,
    *,
    any_order: bool = False,
    pace: float = 1.0,
    ready: Callable[[], None] = lambda: None,
) -> Playback:
    """Plays under `link` until `stop` can be read. Recorded delays are multiplied by `pace`; 0 is
    no delay. `tell` gets a sentence for each request that nobody knows."""
    playback = Playback(transcript, any_order)
    pause_s = silence_s(int(transcript.headers.get("baud", BAUD_UNKNOWN)))
    coming: list[tuple[float, int, bytes]] = []  # due, number, bytes
    number = 0
    begun_s = quiet_s = 0.0
    with linked_pty(link) as master:
        ready()
        while True:
            dues = [coming[0][0]] if coming else []
            if not playback.is_silent():
                dues.append(quiet_s)
            wait_s = min(dues) - time.monotonic() if dues else None
            readable = wait_readable([stop, master], wait_s)
            if stop in readable:
                break
            now_s = time.monotonic()
            answer: Answer | None = None
            if master in readable:
                begun_s = now_s if playback.is_silent() else begun_s
                quiet_s = now_s + pause_s
                answer = playback.hear(read_waiting(master))
            elif not playback.is_silent() and now_s >= quiet_s:
                answer = _settle(playback, any_order, tell)
            for ms, data in answer or ():
                number += 1
                heapq.heappush(coming, (begun_s + ms / 1000 * pace, number, data))
            while coming and coming[0][0] <= time.monotonic():
                lost = write_all(master, heapq.heappop(coming)[2])
                if lost:
                    tell(f"{lost} bytes of an answer were lost: nobody reads {link}")
    _settle(playback, any_order, tell)
    return playback


def _settle(playback: Playback, any_order: bool, tell: Tell) -> Answer | None:
    """What the line's silence makes of the bytes that were heard; tells those that nobody knows."""
    answer, unknown = playback.fall_silent()
    if not unknown:
        return answer
    shown, left = _hex(unknown), playback.left()
    if any_order:
        tell(f"not in the transcript: {shown}")
    elif not left:
        tell(f"not in the transcript, which is over: {shown}")
    else:
        tell(f"not the next request of the transcript: {shown}; that is {_hex(left[0])}")
    return None


def _hex(data: bytes) -> str:
    return data.hex(" ").upper()


def run(file: Path, link: Path, speed: float | None, any_order: bool) -> int:
    """Plays `file` until Ctrl-C or SIGTERM; the exit code. `speed` divides the recorded delays,
    None leaves them out. SettingError for a wrong file."""
    transcript = load_transcript(file)
    if not exchanges_of(transcript):
        raise SettingError(f"{file}: has no request; at least one line with '>' must stand there")
    with stop_signals() as stop:
        playback = serve(
            transcript,
            link,
            stop,
            _tell,
            any_order=any_order,
            pace=0.0 if speed is None else 1 / speed,
            ready=lambda: _print({"ready": True, "link": str(link)}),
        )
    left = [] if any_order else playback.left()
    if left:
        _tell(f"{len(left)} requests were never sent, first {_hex(left[0])}")
    _print({"answered": playback.answered, "unknown": playback.unknown, "left": len(left)})
    return 1 if playback.unknown or left else 0


def _tell(sentence: str) -> None:
    sys.stderr.write(f"busbar-hil: {sentence}\n")
    sys.stderr.flush()


def _print(message: dict[str, object]) -> None:
    with suppress(BrokenPipeError):
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
