"""What stands in for `threading`, `queue` and `Future` in the product's modules: the same names,
the same meaning, on virtual time."""

import contextlib
import queue
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.sim.scheduler import Scheduler, Task, wait_ns


class Waiters:
    """Tasks that wait for something, and are all woken when it may have come."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._tasks: list[Task] = []

    def wait(self, until_ns: int | None) -> bool:
        """False when the time is over."""
        if until_ns is not None and self._scheduler.now_ns >= until_ns:
            return False
        task = self._scheduler.current
        self._tasks.append(task)
        try:
            self._scheduler.park(until_ns)
        finally:
            if task in self._tasks:
                self._tasks.remove(task)
        return True

    def wake(self) -> None:
        """Lets them look again."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            self._scheduler.wake(task)

    def until(self, timeout: float | None) -> int | None:
        """The instant when a time-out in seconds is over."""
        if timeout is None:
            return None
        return self._scheduler.now_ns + wait_ns(timeout)


class Thread:
    """threading.Thread, as a task of the process that starts it."""

    def __init__(
        self,
        scheduler: Scheduler,
        target: Callable[[], object],
        name: str = "",
        daemon: bool = False,
    ) -> None:
        self._scheduler, self._target, self._name = scheduler, target, name
        self._task: Task | None = None

    def start(self) -> None:
        process = self._scheduler.current.process
        self._task = self._scheduler.spawn(process, self._name, self._target)

    def join(self, timeout: float | None = None) -> None:
        if self._task is not None:
            until = None if timeout is None else self._scheduler.now_ns + wait_ns(timeout)
            self._scheduler.join(self._task, until)

    def is_alive(self) -> bool:
        return self._task is not None and not self._task.has_ended


class Event:
    """threading.Event."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._is_set = False
        self._waiters = Waiters(scheduler)

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        self._waiters.wake()

    def wait(self, timeout: float | None = None) -> bool:
        until = self._waiters.until(timeout)
        while not self._is_set and self._waiters.wait(until):
            pass
        return self._is_set


class Lock:
    """threading.Lock."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._is_held = False
        self._waiters = Waiters(scheduler)

    def __enter__(self) -> "Lock":
        while self._is_held:
            self._waiters.wait(None)
        self._is_held = True
        return self

    def __exit__(self, *_: object) -> None:
        self._is_held = False
        self._waiters.wake()


class RLock(Lock):
    """threading.RLock."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._scheduler = scheduler
        self._owner: Task | None = None
        self._depth = 0

    def __enter__(self) -> "RLock":
        if self._owner is not self._scheduler.current or self._owner is None:
            super().__enter__()
            self._owner = self._scheduler.current
        self._depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
            super().__exit__()


class Condition(Lock):
    """threading.Condition with a lock of its own."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__(scheduler)
        self._news = Waiters(scheduler)

    def wait(self, timeout: float | None = None) -> None:
        until = self._news.until(timeout)
        self.__exit__()
        self._news.wait(until)
        self.__enter__()

    def notify(self) -> None:
        self._news.wake()


class Semaphore:
    """threading.Semaphore, taken with a time-out."""

    def __init__(self, scheduler: Scheduler, value: int) -> None:
        self._value = value
        self._waiters = Waiters(scheduler)

    def acquire(self, timeout: float | None = None) -> bool:
        until = self._waiters.until(timeout)
        while not self._value:
            if not self._waiters.wait(until):
                return False
        self._value -= 1
        return True

    def release(self) -> None:
        self._value += 1
        self._waiters.wake()


class Queue:
    """queue.Queue and queue.SimpleQueue."""

    def __init__(self, scheduler: Scheduler, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self.high = 0  # the most that ever waited
        self._items: deque[Any] = deque()
        self._arrivals = Waiters(scheduler)
        self._departures = Waiters(scheduler)

    def qsize(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        return not self._items

    def full(self) -> bool:
        return 0 < self.maxsize <= len(self._items)

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        until = self._departures.until(timeout)
        while self.full():
            if not block or not self._departures.wait(until):
                raise queue.Full
        self._items.append(item)
        self.high = max(self.high, len(self._items))
        self._arrivals.wake()

    def put_nowait(self, item: object) -> None:
        self.put(item, block=False)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        until = self._arrivals.until(timeout)
        while not self._items:
            if not block or not self._arrivals.wait(until):
                raise queue.Empty
        item = self._items.popleft()
        self._departures.wake()
        return item

    def get_nowait(self) -> Any:
        return self.get(block=False)


class Future:
    """concurrent.futures.Future."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._waiters = Waiters(scheduler)
        self._result: Any = None
        self._error: Exception | None = None
        self._is_done = False
        self._callbacks: list[Callable[[Any], None]] = []

    def done(self) -> bool:
        """Whether it has a result, or an error."""
        return self._is_done

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self._is_done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def exception(self, timeout: float | None = None) -> Exception | None:
        with contextlib.suppress(Exception):
            self.result(timeout)
        return self._error

    def set_result(self, result: Any) -> None:
        self._result = result
        self._finish()

    def set_exception(self, error: Exception) -> None:
        self._error = error
        self._finish()

    def result(self, timeout: float | None = None) -> Any:
        until = self._waiters.until(timeout)
        while not self._is_done:
            if not self._waiters.wait(until):
                raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._result

    def _finish(self) -> None:
        self._is_done = True
        self._waiters.wake()
        for callback in self._callbacks:
            callback(self)


def threading_of(scheduler: Scheduler) -> SimpleNamespace:
    """What a module finds under the name `threading`."""
    return SimpleNamespace(
        Thread=lambda **arguments: Thread(scheduler, **arguments),
        Event=lambda: Event(scheduler),
        Lock=lambda: Lock(scheduler),
        RLock=lambda: RLock(scheduler),
        Condition=lambda: Condition(scheduler),
        Semaphore=lambda value: Semaphore(scheduler, value),
    )


def queue_of(scheduler: Scheduler) -> SimpleNamespace:
    """What a module finds under the name `queue`."""
    return SimpleNamespace(
        Queue=lambda maxsize=0: Queue(scheduler, maxsize),
        SimpleQueue=lambda: Queue(scheduler),
        Empty=queue.Empty,
        Full=queue.Full,
    )
