"""Every browser that came in with the token is a user with a workbench process of their own; a refresh finds it again by the cookie."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fedliver.errors import FedLiverError
from fedliver.web.door_keys import digest_of, new_secret
from fedliver.web.door_process import Standing, Workbench

_LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class UserLimits:
    """``users``: workbenches at a time; each takes a gigabyte or two of memory. ``idle_seconds``: how long a workbench that no browser is
    connected to is kept; what was drawn and not kept goes with it, so it is longer than a night. ``start_seconds``: how long a start may take."""

    users: int = 8
    idle_seconds: float = 16 * 3600.0
    start_seconds: float = 180.0


@dataclass
class User:
    """One browser's session."""

    workbench: Workbench
    started: bool = False
    refused: str = ""
    """Why the workbench does not run, once it should."""
    connections: int = 0
    """WebSockets that are open."""
    seen: float = field(default_factory=time.monotonic)
    uploading: bool = False
    starting: "asyncio.Task[None] | None" = None


class Users:
    """The users of one door.

    Parameters
    ----------
    make:
        Makes a workbench that is not started yet.
    busy:
        Whether something goes on that nobody may end for being idle: the site trains in a federation.
    """

    def __init__(self, make: Callable[[], Workbench], limits: UserLimits | None = None, busy: Callable[[], bool] = lambda: False) -> None:
        self.limits = limits or UserLimits()
        self._make = make
        self._busy = busy
        self._users: dict[bytes, User] = {}
        self._prepared: User | None = None

    def find(self, cookie: str | None) -> User | None:
        """Who bears this cookie; they were seen now."""
        user = self._users.get(digest_of(cookie)) if cookie else None
        if user is not None:
            user.seen = time.monotonic()
        return user

    async def admit(self) -> str:
        """A new user; gives back their cookie.

        Raises
        ------
        FedLiverError
            ``too-many-users``.
        """
        if len(self._users) >= self.limits.users:
            await self._forget_one_without_workbench()
        user, self._prepared = self._prepared or User(self._make()), None
        cookie = new_secret()
        self._users[digest_of(cookie)] = user
        return cookie

    def prepare(self) -> User:
        """Start the first user's workbench before they come."""
        if self._prepared is None:
            self._prepared = User(self._make())
            self.begin(self._prepared)
        return self._prepared

    def begin(self, user: User) -> None:
        """Start the user's workbench for the first time; one that ended is not started again by itself, it might end for ever."""
        if user.starting is None:
            self.begin_again(user)

    def begin_again(self, user: User) -> None:
        """Start a workbench that has ended."""
        if user.starting is None or user.starting.done():
            user.refused, user.started = "", False
            user.starting = asyncio.create_task(self._start(user))

    def standing(self, user: User) -> Standing:
        """Where the user's workbench stands; ``user.refused`` says why if it has ended."""
        if user.refused:
            return Standing.ENDED
        if not user.started:
            return Standing.STARTING
        found = user.workbench.look()
        if found is Standing.ENDED:
            user.refused = user.workbench.why_it_ended()
        return found

    async def wait(self, user: User, seconds: float) -> Standing:
        """As :meth:`standing`, but while it starts up to ``seconds`` are waited for it."""
        end = time.monotonic() + seconds
        while (found := self.standing(user)) is Standing.STARTING and time.monotonic() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        return found

    async def end_idle(self) -> int:
        """End the workbenches that nobody has used for long; how many."""
        now = time.monotonic()
        idle = [key for key, user in self._users.items() if not user.connections and not user.uploading and now - user.seen > self.limits.idle_seconds]
        if not idle or await asyncio.to_thread(self._busy):
            return 0
        gone = [self._users.pop(key) for key in idle]
        await self._end(gone)
        return len(gone)

    async def end_all(self) -> None:
        gone = [*self._users.values(), *filter(None, [self._prepared])]
        self._users.clear()
        self._prepared = None
        await self._end(gone)

    async def _start(self, user: User) -> None:
        spawn = asyncio.ensure_future(asyncio.to_thread(user.workbench.start))
        try:
            await asyncio.shield(spawn)
            end = time.monotonic() + self.limits.start_seconds
            while user.workbench.look() is Standing.STARTING:
                if time.monotonic() > end:
                    await asyncio.to_thread(user.workbench.end)
                    raise FedLiverError("no-workbench", "The workbench did not start in time: this computer is too busy. Try again.")
                await asyncio.sleep(_LOOK_SECONDS)
        except FedLiverError as error:
            user.refused = error.sentence
        except OSError as error:
            user.refused = f"The workbench could not be started ({error.strerror}): free some space in the site's folder, then try again."
        except asyncio.CancelledError:
            await asyncio.wait([spawn])  # a thread cannot be cancelled: whoever ends the process must not come before it is there
            raise
        finally:
            user.started = True

    async def _end(self, users: list[User]) -> None:
        for user in users:
            if user.starting is not None and not user.starting.done():
                user.starting.cancel()
                await asyncio.wait([user.starting])
        await asyncio.gather(*(asyncio.to_thread(user.workbench.end) for user in users))

    async def _forget_one_without_workbench(self) -> None:
        for key, user in self._users.items():
            if user.starting is None or user.refused:
                await self._end([self._users.pop(key)])
                return
        raise FedLiverError("too-many-users", f"{self.limits.users} workbenches are open already: close one, or ask who started this workbench.")
