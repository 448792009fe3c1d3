"""Every fault of the table: what happens in the middle of a round, how people put it right, and what the federation must have done."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from fault_trial import DEADLINE, A, Trial, clock
from namespaces import COORDINATOR

Act = Callable[[Trial], None]
GOES_ON, FAILS = "the round closes without A", "the run ends, the next one goes on"
BOTH = "the round has both sites"


@dataclass(frozen=True)
class Fault:
    """``happen`` is called when A trains, ``amend`` once the run has ended. ``must`` is what has to come of it."""

    name: str
    must: str
    happen: Act
    amend: Act = lambda trial: None
    before: Act = lambda trial: None
    policy: dict[str, object] | None = None


def faults() -> list[Fault]:
    return [*_killed(), *_network(), *_people(), *_disks(), *_hostile()]


def _rejoin(trial: Trial) -> None:
    trial.leave(A)
    trial.join(A)


def _killed() -> list[Fault]:
    def all_of_the_coordinator(trial: Trial) -> None:
        trial.kill(COORDINATOR)

    def start_again(trial: Trial) -> None:
        trial.federation.fedliver(COORDINATOR, "coordinator", "stop")
        trial.start_coordinator()
        trial.wait(lambda: _online(trial) == 2, "both sites are online again")

    return [
        Fault("kill -9 of a site's ClientApp", GOES_ON, lambda trial: _kill(trial, A, trial.client_app(A)), _rejoin),
        Fault("kill -9 of a site's SuperNode", GOES_ON, lambda trial: _kill(trial, A, trial.super_node(A)), _rejoin),
        Fault("power off at a site (kill -9 of all at once)", GOES_ON, lambda trial: _kill(trial, A), _rejoin),
        Fault(
            "kill -9 of the run (ServerApp)", FAILS, lambda trial: _kill(trial, COORDINATOR, _told("server_app", "serverapp", "flwr-serverapp")), start_again
        ),
        Fault("kill -9 of the SuperLink", FAILS, lambda trial: _kill(trial, COORDINATOR, _told("superlink", "federation.front")), start_again),
        Fault("power off at the coordinator (kill -9 of all at once)", FAILS, all_of_the_coordinator, start_again),
    ]


def _kill(trial: Trial, who: str, only: Callable | None = None) -> None:  # type: ignore[type-arg]
    trial.kill(who, only) if only else trial.kill(who)


def _told(*words: str) -> Callable:  # type: ignore[type-arg]
    return lambda process: any(word in " ".join(process.cmdline()) for word in words)


def _online(trial: Trial) -> int:
    return trial.federation.fedliver(COORDINATOR, "coordinator", "status").count("online")


def _network() -> list[Fault]:
    def cut_for(seconds: float) -> Act:
        def cut(trial: Trial) -> None:
            trial.network.cut(A)
            time.sleep(seconds)  # the fault itself: a link that is down for so long
            trial.network.mend(A)

        return cut

    def back(trial: Trial) -> None:
        trial.network.mend(A)
        trial.wait(lambda: _online(trial) == 2, "A is online again")

    return [
        Fault("network cut for 2 minutes", BOTH, cut_for(120), back, policy={"deadline_seconds": 420.0}),
        Fault("network cut for the whole round", GOES_ON, lambda trial: trial.network.cut(A), back),
        Fault("one-way cut: the site is heard and hears nothing", GOES_ON, lambda trial: trial.network.deafen(A), back),
    ]


def _people() -> list[Fault]:
    def second_seat(trial: Trial) -> None:
        copy = trial.root / "copy"
        shutil.copytree(trial.root / A, copy, ignore=lambda folder, names: [name for name in names if name in ("run", "filler")])
        _must_refuse(trial, trial.join_copy(A, copy))

    def wrong_clock(trial: Trial) -> None:
        _must_refuse(trial, trial.try_(A, "site", "test", **clock("+1h")))

    def expired(trial: Trial) -> None:
        _must_refuse(trial, trial.try_(A, "site", "test", **clock("+20y")))

    def revoke(trial: Trial) -> None:
        trial.federation.fedliver(COORDINATOR, "coordinator", "revoke", "Hospital A")

    def enrol_anew(trial: Trial) -> None:
        trial.leave(A)
        folder = trial.root / A / "federation"
        (folder / "site_key").rename(folder / "site_key.revoked")
        trial.federation.enrol(A)
        trial.join(A)

    return [
        Fault("the same site joins twice", BOTH, second_seat, lambda trial: shutil.rmtree(trial.root / "copy", ignore_errors=True)),
        Fault("a site's clock is an hour ahead (connection test)", BOTH, wrong_clock),
        Fault("the certificate has expired (connection test)", BOTH, expired),
        Fault("the site is revoked", GOES_ON, revoke, enrol_anew),
    ]


def _must_refuse(trial: Trial, refused: bool) -> None:
    if not refused:
        raise RuntimeError(f"it was not refused: {trial.said}")


def _disks() -> list[Fault]:
    def fill(who: str) -> Act:
        def full(trial: Trial) -> None:
            with trial.full_disk(who):
                trial.end_of_run()

        return full

    def corrupt(trial: Trial) -> None:
        newest = sorted(trial.federation.home.checkpoints.glob("round-*.npz"))[-1]
        newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])

    return [
        Fault("a site's disk is full", GOES_ON, fill(A), _rejoin),
        Fault("the coordinator's disk is full", FAILS, fill(COORDINATOR)),
        Fault("the newest checkpoint is cut in half", BOTH, lambda trial: None, before=corrupt),
    ]


def _hostile() -> list[Fault]:
    def exchange(behaviour: str) -> Act:
        def join(trial: Trial) -> None:
            trial.leave(A)
            trial.join_with_another_launcher(A, behaviour)

        return join

    return [
        Fault(f"a site sends {words}", GOES_ON, lambda trial: None, _rejoin, exchange(behaviour), {"compression": "none", "deadline_seconds": DEADLINE})
        for behaviour, words in (
            ("nan", "NaN"),
            ("garbage", "10 kB of garbage"),
            ("gigabyte", "1 GB"),
            ("negative", "a negative number of cases"),
            ("another model", "another model"),
        )
    ]
