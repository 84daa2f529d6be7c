"""Virtual time, and the one place that says what runs next.

* Time is whole nanoseconds, and passes only when nothing is left to do at this instant.
* The product blocks in the middle of its work, so each of its threads keeps a stack of its own and
  is used as a coroutine: exactly one runs, and gives up only where it would block. Nothing waits
  for real, nothing runs beside anything else, so one seed has one history.
* What is due at the same nanosecond goes in an order drawn from the seed: other seeds, other
  interleavings.
* A process that has crashed never comes back from a call that blocks or touches the world: `Killed`
  unwinds it, and what it does on the way out reaches nothing.
"""

import heapq
import random
import threading
from collections.abc import Callable

MS = 1_000_000  # nanoseconds
SECOND = 1_000 * MS
_STACK_SIZE = 512 * 1024

_SHORTEST_NS = 1_000  # of a wait: time passes in every one, however small

Call = Callable[[], "Task | None"]


def wait_ns(seconds: float) -> int:
    """A time-out in seconds as nanoseconds: 0 for one that is over, else enough to matter."""
    return max(round(seconds * SECOND), _SHORTEST_NS) if seconds > 0 else 0


class Killed(BaseException):
    """The process has crashed; nothing of it goes on."""


class Process:
    """A program that runs until it is killed. `fuse`: how many of its steps are left, if it is to
    crash at one; `on_fuse` is called there, with the step's name, and kills it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.fuse = -1
        self.fuse_step = ""  # the only steps that count; "" for all
        self.on_fuse: Callable[[str], None] = lambda step: None
        self.tasks: list[Task] = []

    def step(self, name: str) -> None:
        """The program is about to touch the world: here it may crash."""
        if self.is_dead:
            raise Killed
        if self.fuse >= 0 and self.fuse_step in ("", name):
            self.fuse -= 1
            if self.fuse < 0:
                self.on_fuse(name)
                raise Killed


class Task:
    """One thread of a process, used as a coroutine."""

    def __init__(self, process: Process, name: str) -> None:
        self.process = process
        self.name = name
        self.baton = threading.Lock()
        self.baton.acquire()
        self.thread: threading.Thread | None = None
        self.park_number = 0  # wake-ups for an earlier park are void
        self.is_parked = False
        self.was_woken = False
        self.has_ended = False
        self.waiting: list[Task] = []  # for its end


class Scheduler:
    """Runs tasks and calls in virtual time; made in the thread that drives the world."""

    def __init__(self, chance: random.Random) -> None:
        self.now_ns = 0
        self.steps = 0
        self.switches = 0
        self.after_run: Callable[[Process], None] = lambda process: None
        self.failure: BaseException | None = None
        self._chance = chance.random
        self._events: list[tuple[int, float, int, Call]] = []
        self._number = 0
        self._tasks: list[Task] = []
        self._main = self.current = Task(Process("driver"), "driver")

    # ---- calls ----------------------------------------------------------------------------------

    def after(self, delay_ns: int, call: Callable[[], object]) -> None:
        """Calls `call` then; it must not block."""
        self._at(self.now_ns + max(delay_ns, 0), lambda: _call(call))

    def _at(self, at_ns: int, call: Call) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_ns, self._chance(), self._number, call))

    # ---- tasks ----------------------------------------------------------------------------------

    def spawn(self, process: Process, name: str, target: Callable[[], object]) -> Task:
        """A task that begins now."""
        task = Task(process, name)
        task.thread = threading.Thread(target=lambda: self._live(task, target), name=name)
        process.tasks.append(task)
        self._tasks.append(task)
        task.is_parked = True
        before = threading.stack_size(_STACK_SIZE)
        task.thread.start()
        threading.stack_size(before)
        self.wake(task)
        return task

    def park(self, until_ns: int | None = None) -> bool:
        """Gives up until `wake`, or until that time. Whether it was woken."""
        me = self.current
        if me.process.is_dead:
            raise Killed
        me.is_parked = True
        me.park_number += 1
        if until_ns is not None:
            self._at(max(until_ns, self.now_ns), self._resumption(me, False))
        self._dispatch(me)
        if me is self._main and self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        if me.process.is_dead:
            raise Killed
        return me.was_woken

    def sleep(self, duration_ns: int) -> None:
        """Lets this much time pass."""
        until = self.now_ns + duration_ns
        while self.now_ns < until:
            self.park(until)

    def wake(self, task: Task) -> None:
        """Lets a parked task go on, as soon as nothing else runs."""
        if task.is_parked:
            self._at(self.now_ns, self._resumption(task, True))

    def join(self, task: Task, until_ns: int | None = None) -> None:
        """Waits for its end."""
        while not task.has_ended and (until_ns is None or self.now_ns < until_ns):
            task.waiting.append(self.current)
            self.park(until_ns)

    def kill(self, process: Process) -> None:
        """Crashes a process: each of its tasks unwinds from where it is."""
        process.is_dead = True
        for task in process.tasks:
            if not task.has_ended:
                self.wake(task)

    def close(self) -> None:
        """Kills whatever is left and ends the threads."""
        for task in self._tasks:
            self.kill(task.process)
        self.after_run = lambda process: None
        for task in self._tasks:
            self.failure = None
            while not task.has_ended:
                task.waiting.append(self._main)
                self.park()
            if task.thread is not None:
                task.thread.join()

    # ---- inside ---------------------------------------------------------------------------------

    def _resumption(self, task: Task, is_wake: bool) -> Call:
        number = task.park_number

        def resume() -> Task | None:
            if not task.is_parked or task.park_number != number:
                return None
            task.is_parked = False
            task.was_woken = is_wake
            return task

        return resume

    def _live(self, task: Task, target: Callable[[], object]) -> None:
        task.baton.acquire()
        try:
            if not task.process.is_dead:
                target()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001  # the driver raises it
            self.failure = self.failure or error
        task.has_ended = True
        for other in task.waiting:
            self.wake(other)
        self._dispatch(task)

    def _dispatch(self, me: Task) -> None:
        """Looks at what `me` did, runs what is due until it is somebody's turn, and hands over."""
        try:
            self.after_run(me.process)
        except BaseException as error:  # noqa: BLE001  # the driver raises it
            self.failure = self.failure or error
        while True:
            target = self._next()
            if target is None:
                continue
            self.current = target
            if target is me:
                return
            self.switches += 1
            target.baton.release()
            if not me.has_ended:
                me.baton.acquire()
            return

    def _next(self) -> Task | None:
        if self.failure is not None and self._main.is_parked:
            self._main.is_parked = False
            return self._main
        if not self._events:
            self.failure = AssertionError("nothing is left to do, and something still waits")
            return None
        self.now_ns, _, _, call = heapq.heappop(self._events)
        self.steps += 1
        try:
            target = call()
        except BaseException as error:  # noqa: BLE001  # the driver raises it
            self.failure = self.failure or error
            return None
        return target


def _call(call: Callable[[], object]) -> None:
    call()
