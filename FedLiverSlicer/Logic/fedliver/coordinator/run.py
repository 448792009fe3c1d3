"""One run seen from outside: the process that starts it, its events as they come, and its end."""

import shutil
import time
from collections.abc import Callable

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import EventTail, Job, RunEvent
from fedliver.coordinator.superlink import SuperLink
from fedliver.errors import FedLiverError
from fedliver.site.processes import end_processes, is_alive, read_record, start_process

_POLL_SECONDS = 0.2
FINISHED_GRACE_SECONDS = 10.0
_LEAST_ROOM = 1024 * 1024
"""Bytes; with less, neither an event nor the SuperLink's database could be written."""


def in_progress(home: CoordinatorHome) -> bool:
    """Whether the last run that was started still goes on, be it without the command that started it."""
    jobs = sorted(path.name for path in home.job("").glob("*"))
    return is_alive(read_record(home.record("run"))) or (bool(jobs) and is_alive(read_record(home.server_app(jobs[-1]))))


class RunProcesses:
    """The processes of one job: Flower's command that starts it, and its ServerApp."""

    def __init__(self, home: CoordinatorHome, superlink: SuperLink, job: Job, grace_seconds: float = FINISHED_GRACE_SECONDS) -> None:
        self._home = home
        self._superlink = superlink
        self._grace_seconds = grace_seconds
        self._job = job.job
        self._record = home.record("run")
        self._log = home.job(job.job) / "flower.log"

    def start(self) -> None:
        """Start the run (``cannot-start``)."""
        command, variables = self._superlink.run_command(self._job), self._superlink.variables()
        start_process(command, role="run", environment=variables, log=self._log, record=self._record, folder=self._home.path)

    def follow(self, on_event: Callable[[RunEvent], None]) -> RunEvent | None:
        """Hand on the run's events until its last one; None if the run ends without one."""
        tail = EventTail(self._home.job(self._job) / "events.jsonl")
        record = read_record(self._record)
        gone_since: float | None = None
        while True:
            for event in tail.read():
                on_event(event)
                if event.kind in ("finished", "failed"):
                    return event
            if self._superlink_runs() and (is_alive(record) or self._server_app_runs()):
                gone_since = None
            elif gone_since is None:
                gone_since = time.monotonic()
            elif time.monotonic() - gone_since > self._grace_seconds:
                return None
            time.sleep(_POLL_SECONDS)

    def ended_without_a_word(self) -> str:
        """Why, in a sentence."""
        if shutil.disk_usage(self._home.path).free < _LEAST_ROOM:
            why = f"the disk that holds {self._home.path} is full. Make room; the next run goes on from the newest checkpoint"
        elif not self._superlink_runs():
            why = f"the SuperLink has ended. Start the coordinator again; what it said last is in {self._home.log('superlink')}"
        else:
            why = f"its ServerApp was killed, or failed before its first word. Its log: {self._log}"
        return f"The run ended without a result: {why}"

    def wait_for_server_app(self) -> None:
        """Let the ServerApp tell the SuperLink how it ended."""
        end = time.monotonic() + self._grace_seconds
        while self._server_app_runs() and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        """Have the SuperLink stop the run, if it knows of it."""
        marker = "Successfully started run "
        text = self._log.read_text(errors="replace") if self._log.is_file() else ""
        if marker in text and self._superlink.running:
            run_id = text.split(marker, 1)[1].split()[0]
            if run_id.isdigit():
                try:
                    self._superlink.flwr("stop", run_id, "fedliver", timeout=15.0)
                except FedLiverError:
                    return  # the run ends with the SuperLink at the latest

    def end(self) -> None:
        """End what is left of its processes."""
        end_processes([self._record, self._home.server_app(self._job)])

    def _superlink_runs(self) -> bool:
        """A ServerApp whose SuperLink is gone asks for it for ever, and its deadline is never looked at."""
        return is_alive(read_record(self._home.record("superlink")))

    def _server_app_runs(self) -> bool:
        """Whether the ServerApp still works, though the command that started it has ended (it does when the SuperLink was restarted)."""
        return is_alive(read_record(self._home.server_app(self._job)))
