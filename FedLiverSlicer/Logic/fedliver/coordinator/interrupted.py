"""Whether the run before was cut short: nobody is left to say so when the machine goes down, so the next run does."""

from pathlib import Path

from fedliver.coordinator.records import EventTail


def cut_short(jobs: Path) -> str:
    """A sentence, with the last that was heard of the newest run in ``jobs``; empty if that run said how it ended, or if there was none."""
    newest = max(jobs.glob("*"), default=None, key=lambda path: path.name)
    if newest is None:
        return ""
    events = EventTail(newest / "events.jsonl").read()
    if events and events[-1].kind in ("finished", "failed"):
        return ""
    heard = f"the last that was heard of it: {events[-1].sentence}" if events else "nothing was heard of it."
    return f"The run before was cut short (stopped, killed, or the machine went down); {heard}"
