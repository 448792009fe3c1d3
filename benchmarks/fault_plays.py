"""Every fault of the table: when it happens, what happens, how people put it right, and what must come of it."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from fault_record import BOTH, EITHER, FAILS, GOES_ON, MISSED
from fault_trial import DEADLINE, A, Trial, clock
from namespaces import COORDINATOR

Act = Callable[[Trial], None]
SERVER_APP, SUPER_LINK = "flwr-serverapp", "fedliver.federation.front"
OFFLINE = "Hospital A: not used: went offline"
UNREACHABLE = r"^$|Hospital A: (not used: )?(went offline|did not answer|its training process died)"
"""Where the update may have been out before: nothing to report, or the site and the cause."""
SERVER_APP_DEAD, SUPER_LINK_DEAD, CUT_SHORT = "its ServerApp was killed", "the SuperLink has ended", "cut short"


def nothing(trial: Trial) -> None:
    """No act."""


# ---- when


def training(trial: Trial) -> None:
    trial.until_site(A, "training")


def starting(trial: Trial) -> None:
    trial.wait(lambda: bool(trial.client_apps(A)) or trial.ended, "A's ClientApp starts")


def sending(trial: Trial) -> None:
    trial.until_site(A, "sending")


def waiting(trial: Trial) -> None:
    trial.until_event("waiting")


def delivering(trial: Trial) -> None:
    trial.until_event("aggregated")


def delivering_here(trial: Trial) -> None:
    delivering(trial)
    now = time.time()  # the one that trained may still be ending
    trial.wait(lambda: any(process.create_time() > now for process in trial.client_apps(A)) or trial.ended, "A's ClientApp starts for the delivery")


# ---- what


def kill_client_app(trial: Trial) -> None:
    trial.kill(A, trial.client_apps(A))


def kill_warm(trial: Trial) -> None:
    trial.kill(A, trial.warm_processes(A))


def kill_super_node(trial: Trial) -> None:
    trial.kill(A, trial.super_node(A))


def kill_site(trial: Trial) -> None:
    trial.kill(A, trial.processes(A))


def kill_server_app(trial: Trial) -> None:
    trial.kill(COORDINATOR, trial.processes(COORDINATOR, SERVER_APP))


def kill_super_link(trial: Trial) -> None:
    trial.kill(COORDINATOR, trial.processes(COORDINATOR, SUPER_LINK))


def kill_coordinator(trial: Trial) -> None:
    trial.kill(COORDINATOR, trial.processes(COORDINATOR))


def cut(trial: Trial) -> None:
    trial.network.cut(A)


def cut_for_two_minutes(trial: Trial) -> None:
    trial.network.cut(A)
    time.sleep(120)  # the fault itself: a link that is down for so long
    trial.network.mend(A)


def deafen(trial: Trial) -> None:
    trial.network.deafen(A)


def second_seat(trial: Trial) -> None:
    copy = trial.root / "copy"
    shutil.copytree(trial.root / A, copy, ignore=lambda folder, names: [name for name in names if name in ("run", "filler")])
    trial.must_refuse(trial.join_copy(A, copy))


def wrong_clock(trial: Trial) -> None:
    trial.must_refuse(trial.try_(A, "site", "test", **clock("+1h")))


def expired(trial: Trial) -> None:
    trial.must_refuse(trial.try_(A, "site", "test", **clock("+20y")))


def revoke(trial: Trial) -> None:
    trial.federation.fedliver(COORDINATOR, "coordinator", "revoke", "Hospital A")


def fill_site(trial: Trial) -> None:
    with trial.full_disk(A):
        trial.end_of_run()


def fill_coordinator(trial: Trial) -> None:
    with trial.full_disk(COORDINATOR):
        trial.end_of_run()


# ---- before the round


def leave(trial: Trial) -> None:
    trial.leave(A)


def corrupt(trial: Trial) -> None:
    checkpoints = trial.federation.home.checkpoints
    if not any(checkpoints.glob("round-*.npz")):  # the first play on this stage
        trial.start_run()
        trial.end_of_run()
    newest = sorted(checkpoints.glob("round-*.npz"))[-1]
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])


def hostile(behaviour: str) -> Act:
    """A site whose software was exchanged."""

    def join(trial: Trial) -> None:
        trial.leave(A)
        trial.join_with_another_launcher(A, behaviour)

    return join


# ---- how it is put right


def rejoin(trial: Trial) -> None:
    trial.leave(A)
    trial.join(A)


def start_again(trial: Trial) -> None:
    trial.federation.fedliver(COORDINATOR, "coordinator", "stop")
    trial.federation.fedliver(COORDINATOR, "coordinator", "start")
    trial.until_online(2)


def start_again_and_join(trial: Trial) -> None:
    trial.federation.fedliver(COORDINATOR, "coordinator", "stop")
    trial.federation.fedliver(COORDINATOR, "coordinator", "start")
    trial.join(A)


def plug_in(trial: Trial) -> None:
    trial.network.mend(A)
    trial.until_online(2)


def remove_copy(trial: Trial) -> None:
    shutil.rmtree(trial.root / "copy", ignore_errors=True)


def enrol_anew(trial: Trial) -> None:
    trial.leave(A)
    folder = trial.root / A / "federation"
    (folder / "site_key").rename(folder / "site_key.revoked")
    trial.federation.enrol(A)
    trial.join(A)


@dataclass(frozen=True)
class Fault:
    """``happen`` is called at the moment ``when``, ``amend`` once the run has ended. ``must`` has to come of it.

    ``cause`` is the pattern that the report must match; empty where nothing is lost, and so nothing has to be reported.
    """

    name: str
    must: str
    cause: str
    happen: Act
    amend: Act = nothing
    when: Act = training
    before: Act = nothing
    policy: dict[str, object] | None = None


def _sends(words: str, behaviour: str, cause: str) -> Fault:
    policy: dict[str, object] = {"compression": "none", "deadline_seconds": DEADLINE}
    return Fault(f"a site sends {words}", GOES_ON, f"Hospital A: not used: {cause}", nothing, rejoin, nothing, hostile(behaviour), policy)


TWO_WAITED_FOR: dict[str, object] = {"quorum": 2, "gather_seconds": 60.0}

FAULTS = (
    Fault("kill -9 of a site's ClientApp", GOES_ON, "Hospital A: not used: its training process died", kill_client_app, rejoin),
    Fault("kill -9 of a site's warm process", GOES_ON, "Hospital A: not used: its training process died", kill_warm),
    Fault("kill -9 of a site's SuperNode", GOES_ON, OFFLINE, kill_super_node, rejoin),
    Fault("power off at a site (kill -9 of all at once)", GOES_ON, OFFLINE, kill_site, rejoin),
    Fault("kill -9 of the run (ServerApp)", FAILS, SERVER_APP_DEAD, kill_server_app, start_again),
    Fault("kill -9 of the SuperLink", FAILS, SUPER_LINK_DEAD, kill_super_link, start_again),
    Fault("power off at the coordinator (kill -9 of all at once)", FAILS, CUT_SHORT, kill_coordinator, start_again),
    Fault("network cut for 2 minutes", EITHER, UNREACHABLE, cut_for_two_minutes, plug_in, policy={"deadline_seconds": 420.0}),
    Fault("network cut for the whole round", GOES_ON, "Hospital A: not used: (went offline|did not answer)", cut, plug_in),
    Fault("one-way cut: the site is heard and hears nothing", GOES_ON, "Hospital A: not used: (went offline|did not answer)", deafen, plug_in),
    Fault("the same site joins twice", BOTH, "", second_seat, remove_copy),
    Fault("a site's clock is an hour ahead (connection test)", BOTH, "", wrong_clock),
    Fault("the certificate has expired (connection test)", BOTH, "", expired),
    Fault("the site is revoked", GOES_ON, "Hospital A: not used: was revoked", revoke, enrol_anew),
    Fault("a site's disk is full", GOES_ON, "Hospital A: not used: the site's disk is full", fill_site, rejoin),
    Fault("the coordinator's disk is full", FAILS, "disk", fill_coordinator, start_again),
    Fault("the newest checkpoint is cut in half", BOTH, "checkpoint of round", nothing, before=corrupt),
    _sends("NaN", "nan", "sent numbers that are not finite"),
    _sends("10 kB of garbage", "garbage", "sent tensors of another network"),
    _sends("1 GB", "gigabyte", "sent tensors of another network"),
    _sends("a negative number of cases", "negative", "claims an impossible number of cases"),
    _sends("another model", "another model", "sent tensors of another network"),
    # One that dies before it has taken its message is started again by Flower, half a minute later.
    Fault("kill -9 of a site's ClientApp as it starts", EITHER, UNREACHABLE, kill_client_app, rejoin, starting),
    Fault("kill -9 of a site's ClientApp as it sends", EITHER, UNREACHABLE, kill_client_app, rejoin, sending),
    Fault("kill -9 of a site's ClientApp in the delivery", EITHER, UNREACHABLE, kill_client_app, rejoin, delivering_here),
    Fault("kill -9 of a site's SuperNode as it sends", EITHER, UNREACHABLE, kill_super_node, rejoin, sending),
    Fault("kill -9 of a site's SuperNode in the delivery", MISSED, "Hospital A: went offline", kill_super_node, rejoin, delivering),
    Fault("power off at a site in the delivery", MISSED, "Hospital A: went offline", kill_site, rejoin, delivering),
    Fault("kill -9 of the run while it waits for sites", FAILS, SERVER_APP_DEAD, kill_server_app, start_again_and_join, waiting, leave, TWO_WAITED_FOR),
    Fault("kill -9 of the run in the delivery", FAILS, SERVER_APP_DEAD, kill_server_app, start_again, delivering),
    Fault(
        "kill -9 of the SuperLink while the run waits for sites", FAILS, SUPER_LINK_DEAD, kill_super_link, start_again_and_join, waiting, leave, TWO_WAITED_FOR
    ),
    Fault("kill -9 of the SuperLink in the delivery", FAILS, SUPER_LINK_DEAD, kill_super_link, start_again, delivering),
    Fault("power off at the coordinator while it waits for sites", FAILS, CUT_SHORT, kill_coordinator, start_again_and_join, waiting, leave, TWO_WAITED_FOR),
    Fault("power off at the coordinator in the delivery", FAILS, CUT_SHORT, kill_coordinator, start_again, delivering),
)
