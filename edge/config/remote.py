"""Configurations that come as signed messages: taken up once, tried, kept or taken back.

* A version is taken up when it is above all that ever were, and its time holds; the version and the
  text are durable before anything else happens. The last one may come again: then its outcome is
  told again, and nothing more.
* It is checked whole, over the local edge.toml. A dry run ends there. Else it is put in force as a
  hot reload and is on probation: proven when the head end has acknowledged something after the
  change, and every line that answered before answers again. Otherwise the settings before it are
  put in force again. A start during a probation returns to the last good ones too.
* Another version during a probation ends that with the settings before it, and is tried itself.
* An outcome is told as an event, which is durable before it counts as told.
"""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from edge.clock import Clock
from edge.config.folder import (
    CANDIDATE,
    GOOD,
    ConfigFolder,
    Outcome,
    Stored,
    digest_of,
)
from edge.config.probation import Probation, Terms
from edge.config.reload import Checked, Reloader, check_whole
from edge.lines import Lines
from edge.settings import Settings, load_settings, read_text
from edge.settings.remote import overlay
from protocols.envelope.claims import Claims, check_times
from protocols.errors import EnvelopeError, SettingError
from protocols.messages import Config
from protocols.readings import TimeQuality

CONFIG_PROBATION_S = 900
APPLIED, REFUSED, REVERTED, CHECKED = (
    "config-applied", "config-refused", "config-reverted", "config-checked",
)  # fmt: skip
ARRIVED_MAX = 16  # messages that wait to be judged
TELL_AGAIN_MS = 60_000  # between two tellings of one outcome
_LOOK_S = 1.0
_LOADS_TOLD = 8  # lines whose load a dry run tells
_RELOAD, _LOOK, _STOP = "reload", "look", "stop"

Tell = Callable[[str, str], None]  # kind and detail of an event; durable, or it raises
log = logging.getLogger("edge.config")


class Standing(NamedTuple):
    """What a start runs, and what it has to tell: (kind, detail) of events. A candidate that it
    found is dropped once that is told."""

    checked: Checked
    news: tuple[tuple[str, str], ...]


class _Taken(NamedTuple):
    """A message that waits to be judged."""

    config: Config
    digest: str


def standing(folder: ConfigFolder, local: Settings, clock: Clock) -> Standing:
    """The last good configuration over the local one; the local one alone when they do not fit
    together any more. SettingError when that can not run."""
    news = []
    candidate, last = folder.candidate(), folder.outcome
    if folder.has(CANDIDATE):
        reason = "the gateway restarted before it was proven"
        if last and (candidate is None or candidate.version == last.version):
            folder.note(_outcome(last.version, last.digest, REVERTED, reason))
        else:
            version = candidate.version if candidate else 0
            news.append((REVERTED, f"version {version}: {reason}"))
    elif last and not last.kind:
        reason = "the gateway restarted before it was judged"
        folder.note(_outcome(last.version, last.digest, REFUSED, reason))
    good = folder.good()
    if good is not None:
        try:
            settings = overlay(local.path, read_text(local.path), good.text)
            return Standing(check_whole(settings, clock), tuple(news))
        except SettingError as error:
            news.append((REVERTED, f"version {good.version}: edge.toml alone holds: {error}"))
    elif folder.has(GOOD):
        news.append((REVERTED, f"{GOOD} is damaged: edge.toml alone holds"))
    return Standing(check_whole(local, clock), tuple(news))


def _outcome(version: int, digest: str, kind: str, words: str) -> Outcome:
    return Outcome(version, digest, kind, f"version {version}: {words}", is_told=False)


class RemoteConfig:
    """`take` is for the session's thread, `ask_reload` for a signal, `reload` for any thread; all
    else happens in its own thread, or in `turn`."""

    def __init__(
        self,
        folder: ConfigFolder,
        reloader: Reloader,
        lines: Lines,
        clock: Clock,
        tell: Tell,
        acknowledged_at: Callable[[], int],
        probation_s: int = CONFIG_PROBATION_S,
    ) -> None:
        self._folder = folder
        self._reloader = reloader
        self._lines = lines
        self._clock = clock
        self._tell = tell
        self._acknowledged_at = acknowledged_at
        self._probation_ms = probation_s * 1000
        self._path = reloader.settings.path
        self._arrived: queue.SimpleQueue[_Taken] = queue.SimpleQueue()
        self._probation: Probation | None = None
        self._untold: list[tuple[str, str]] = []
        self._told_again_at = -TELL_AGAIN_MS
        self._is_start_told = False
        self._lock = threading.Lock()  # of whoever changes what is in force
        self._wake: queue.SimpleQueue[str] = queue.SimpleQueue()  # a signal may put into it
        self._thread = threading.Thread(target=self._run, name="config")

    def start(self, news: tuple[tuple[str, str], ...] = ()) -> None:
        """Starts the thread; `news` is what the start has to tell."""
        self._untold.extend(news)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread. What is on probation stays a candidate: the next start returns."""
        self._wake.put(_STOP)
        self._thread.join()

    def may_correct_clocks(self) -> bool:
        """The standing policy of meter clocks: true only by a remote configuration that was
        proven."""
        collect = self._reloader.settings.collect
        return self._probation is None and bool(collect["correct_meter_clocks"])

    def status(self) -> dict[str, Any]:
        """For `status`: the versions, and what came of the last one."""
        good, last, probation = self._folder.good(), self._folder.outcome, self._probation
        return {
            "version_taken": self._folder.mark.value,
            "version_good": good.version if good else 0,
            "version_on_probation": probation.terms.version if probation else 0,
            "outcome": last.detail if last else "",
        }

    # ---- what asks for a change ------------------------------------------------------------------

    def take(self, claims: Claims, config: Config) -> None:
        """Takes a message that opened under the configuration key; EnvelopeError when not. One that
        gets lost before it is durable comes again: the head end sends it until it hears an
        outcome."""
        if claims.sequence != config.version:
            raise EnvelopeError("schema", "the version is not the signed one")
        self._check_time(claims)
        if config.version < self._folder.mark.value or self._arrived.qsize() >= ARRIVED_MAX:
            raise EnvelopeError("replayed")
        self._arrived.put(_Taken(config, digest_of(config.text, config.is_dry_run)))
        self._wake.put(_LOOK)

    def ask_reload(self) -> None:
        """Reads edge.toml again, soon."""
        self._wake.put(_RELOAD)

    def reload(self) -> str:
        """Reads edge.toml again, checks it whole, and puts in force what changed; in words, what
        that was. SettingError with one sentence when it can not be, and nothing is changed."""
        with self._lock:
            if self._probation is not None:
                raise SettingError(
                    f"{self._path}: is not read again while a remote configuration is on trial;"
                    " try again when that is over"
                )
            good = self._folder.good()
            if good is None:
                settings = load_settings(self._path)
            else:
                settings = overlay(self._path, read_text(self._path), good.text)
            change = self._reloader.apply(check_whole(settings, self._clock))
            self._untold.append((APPLIED, f"edge.toml: {change.text()}"))
        self._wake.put(_LOOK)
        return change.text()

    def _check_time(self, claims: Claims) -> None:
        moment = self._clock.moment()
        if moment.quality < TimeQuality.NTP:
            raise EnvelopeError("clock_untrusted")
        if not claims.expires_at:
            raise EnvelopeError("expired", "a configuration must say how long it holds")
        check_times(claims, moment.utc_ms)

    # ---- its thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            try:
                asked = self._wake.get(timeout=_LOOK_S)
            except queue.Empty:
                asked = _LOOK
            if asked == _STOP:
                return
            try:
                if asked == _RELOAD:
                    self._reload_and_tell()
                self.turn()
            except Exception:
                # A disk that refuses, or a fault of ours: what is in force stays, and the next
                # turn tries again.
                log.exception("turn_failed")

    def _reload_and_tell(self) -> None:
        try:
            self.reload()
        except SettingError as error:
            self._untold.append((REFUSED, str(error)))

    def turn(self) -> None:
        """Judges what was taken up, looks after a probation, and tells what is to be told."""
        with self._lock:
            self._tell_all()
            if not self._is_start_told:
                self._folder.drop_candidate()  # of the run before
                self._is_start_told = True
            if not self._arrived.empty():
                self._take_up(self._arrived.get())
                self._tell_all()
            if self._probation is not None:
                self._look(self._probation)
                self._tell_all()

    def _tell_all(self) -> None:
        last = self._folder.outcome
        if last is not None and not last.is_told:
            self._tell(last.kind, last.detail)
            self._folder.note(last._replace(is_told=True))
        while self._untold:
            self._tell(*self._untold[0])
            self._untold.pop(0)

    def _settle(self, version: int, digest: str, kind: str, words: str) -> None:
        log.info("config_settled version=%d kind=%s detail=%r", version, kind, words)
        self._folder.note(_outcome(version, digest, kind, words))

    # ---- one version -----------------------------------------------------------------------------

    def _take_up(self, taken: _Taken) -> None:
        version, last = taken.config.version, self._folder.outcome
        if version > self._folder.mark.value:
            self._folder.mark.raise_to(version)
            self._folder.mark.settle()
            self._folder.note(Outcome(version, taken.digest, "", "", is_told=True))
            self._judge(taken)
        elif last and (last.version, last.digest) == (version, taken.digest):
            # The head end has not heard it, or somebody repeats what he overheard.
            if self._clock.boot_ms() >= self._told_again_at + TELL_AGAIN_MS:
                self._told_again_at = self._clock.boot_ms()
                self._untold.append((last.kind, last.detail))
        else:
            log.warning("config_refused version=%d reason=replayed", version)

    def _judge(self, taken: _Taken) -> None:
        config = taken.config
        try:
            settings = overlay(self._path, read_text(self._path), config.text)
            checked = check_whole(settings, self._clock)
            self._reloader.judge(checked)
        except SettingError as error:
            self._settle(config.version, taken.digest, REFUSED, str(error))
            return
        if config.is_dry_run:
            change = self._reloader.judge(checked)
            words = f"{change.text()}; {_loads(checked)}"
            self._settle(config.version, taken.digest, CHECKED, words)
            return
        before = self._reloader.checked
        try:
            self._try(taken, checked)
        except (SettingError, RuntimeError, ValueError, LookupError, TypeError) as error:
            # A fault of ours, or no thread to be had. What can be returned to is returned to.
            log.exception("config_failed version=%d", config.version)
            self._reloader.apply(before)
            reason = f"it could not be put in force: {type(error).__name__}"
            self._settle(config.version, taken.digest, REFUSED, reason)
            self._folder.drop_candidate()

    def _try(self, taken: _Taken, checked: Checked) -> None:
        """Puts it in force, on probation."""
        config, former = taken.config, self._probation
        if former is None:
            before, answered = self._reloader.checked, frozenset(self._lines.expected())
        else:  # it never became good: what was before it is what there is to return to
            before, answered = former.terms.before, former.terms.answered
            words = f"version {former.terms.version}: version {config.version} came before it was"
            self._untold.append((REVERTED, f"{words} proven"))
            self._reloader.apply(before)
            self._probation = None
        self._folder.put_candidate(Stored(config.version, config.text))
        change = self._reloader.apply(checked)
        now = self._clock.boot_ms()
        terms = Terms(config.version, before, answered, now, now + self._probation_ms)
        self._probation = Probation(terms, change, checked)
        self._settle(
            config.version,
            taken.digest,
            APPLIED,
            f"on probation for {self._probation_ms // 1000} s; {change.text()}",
        )

    def _look(self, probation: Probation) -> None:
        terms, now = probation.terms, self._clock.boot_ms()
        probation.look(self._lines, now)
        missing = probation.missing(self._acknowledged_at())
        if missing and now < terms.ends_at:
            return
        last = self._folder.outcome
        digest = last.digest if last and last.version == terms.version else ""
        if not missing:
            self._folder.keep_candidate()
            self._probation = None
            self._settle(terms.version, digest, APPLIED, "proven, and kept")
            return
        self._reloader.apply(terms.before)
        self._probation = None
        self._settle(terms.version, digest, REVERTED, missing)
        self._folder.drop_candidate()


def _loads(checked: Checked) -> str:
    rows = list(checked.loads.items())
    shown = ", ".join(f"{line_id} {100 * load:.0f} %" for line_id, load in rows[:_LOADS_TOLD])
    more = f" and {len(rows) - _LOADS_TOLD} more" if len(rows) > _LOADS_TOLD else ""
    return f"time taken: {shown}{more}"
