"""The stage on which faults are played: one federation that goes on from fault to fault, and what is seen of it from outside."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from namespaces import COORDINATOR, Federation, do

from fedliver.cases.case import State
from fedliver.coordinator.records import EventTail, RoundRecord, RunEvent, read_rounds
from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.enrolment import write_model
from fedliver.site.federation import SiteFiles
from fedliver.site.home import SiteHome
from fedliver.site.processes import processes_of, read_record
from fedliver.site.progress import Phase, ProgressTail

A, B = "A", "B"
WARM = "fedliver-warm"
DEADLINE = 150.0
_HANG = 900.0
_BACK = 180.0
"""A site that is not back by then does not come back by itself."""
_FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"


@dataclass
class Run:
    """One ``fedliver coordinator run``, and how it ended."""

    process: "subprocess.Popen[str]"
    began: float = field(default_factory=time.monotonic)
    code: int | None = None
    sentence: str = ""
    seconds: float = 0.0

    def end(self) -> None:
        _, errors = self.process.communicate(timeout=_HANG)
        self.code, self.seconds = self.process.returncode, time.monotonic() - self.began
        self.sentence = " ".join(line.strip() for line in errors.splitlines()[-3:]) if self.code else ""


class Trial:
    """What a fault may do, and what is asked afterwards."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.network = federation.network
        self.root = federation.root
        self.run: Run | None = None
        self._job: Path | None = None
        self.said = ""
        """What a command said that a fault typed."""

    # ---- what is done

    def start_run(self, **policy: object) -> None:
        """Start one round, from the newest checkpoint on."""
        home = self.federation.home
        rules = {"quorum": 1, "deadline_seconds": DEADLINE, "gather_seconds": 30.0, "compression": "int8", **policy}
        write_model(home.policy_file, home.settings().policy.model_copy(update=rules))
        command = self.federation.command(COORDINATOR, "coordinator", "run", "--rounds", "1")
        before = set(home.job("").glob("*"))
        self._job = None
        self.run = Run(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        self.wait(lambda: bool(set(home.job("").glob("*")) - before) or self.ended, "the run begins")
        self._job = next(iter(set(home.job("").glob("*")) - before), None)

    def until_site(self, site: str, phase: Phase) -> None:
        """Wait until the site is in that phase of the round that is on, or the run is over."""
        tail = ProgressTail(SiteFiles(self.root / site).progress)
        tail.read()

        def there() -> bool:
            return any(event.phase == phase for event in tail.read())

        self.wait(lambda: there() or self.ended, f"{site} is {phase}")

    def until_event(self, kind: str) -> None:
        """Wait until the run says so, or is over."""
        self.wait(lambda: any(event.kind == kind for event in self.events()) or self.ended, f"the run is {kind}")

    def until_online(self, sites: int) -> None:
        self.wait(lambda: self.federation.fedliver(COORDINATOR, "coordinator", "status").count("online") == sites, f"{sites} sites are online", _BACK)

    def kill(self, who: str, processes: Sequence[psutil.Process]) -> None:
        """``kill -9``."""
        if not processes:
            raise RuntimeError(f"nothing to kill at {who}")
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def join(self, site: str, **environment: str) -> None:
        self.federation.fedliver(site, "site", "join", environment=environment)

    def join_with_another_launcher(self, site: str, behaviour: str) -> None:
        """As a hospital whose software was exchanged: :mod:`fault_launcher` answers instead of ours."""
        (self.root / site / "misbehaviour").write_text(behaviour)
        code = (
            "import sys; from pathlib import Path; from fedliver.site.federation import SiteFederation; "
            "SiteFederation(Path(sys.argv[1]), launcher='fault_launcher').join()"
        )
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        do(*self.network.command(site, sys.executable, "-c", code, str(self.root / site)), environment={"PYTHONPATH": path})

    def end_of_run(self) -> None:
        """Wait until the run is over, however it ends."""
        if self.run is not None and self.run.code is None:
            self.run.end()

    def join_copy(self, site: str, copy: Path) -> bool:
        """Join once more with a copy of a site's folder, from the site's own network. Whether it was refused."""
        program = [sys.executable, "-c", "from fedliver.cli.main import main; main()", "site", "join", "--home", str(copy)]
        return self._refused(lambda: do(*self.network.command(site, *program)))

    def leave(self, site: str) -> None:
        self.federation.fedliver(site, "site", "leave")

    def try_(self, who: str, *arguments: str, **environment: str) -> bool:
        """Type a command that is expected to be refused; what it says is kept. Whether it was refused."""
        return self._refused(lambda: self.federation.fedliver(who, *arguments, environment=environment))

    def _refused(self, command: Callable[[], str]) -> bool:
        try:
            self.said = " ".join(command().split())
        except RuntimeError as error:
            self.said = " ".join(str(error).split(": ", 1)[-1].split())
            return True
        return False

    def must_refuse(self, refused: bool) -> None:
        """Raises if it was not."""
        if not refused:
            raise RuntimeError(f"it was not refused: {self.said}")

    @contextmanager
    def full_disk(self, who: str) -> Iterator[None]:
        """Nothing more fits on the disk of a site or of the coordinator, which is one of its own (:func:`own_disk`)."""
        filler = self.root / who / "filler"
        with filler.open("wb") as stream, suppress(OSError):
            while True:
                stream.write(bytes(1 << 20))
                stream.flush()
        yield
        filler.unlink()

    # ---- what is seen

    def processes(self, who: str, word: str = "") -> list[psutil.Process]:
        """Every process in the network namespace of a site or of the coordinator that has ``word`` in its command line."""
        found = []
        for pid in self.network.processes(who):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE and word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def client_apps(self, site: str) -> list[psutil.Process]:
        """What trains, scores and answers at a site: what its warm process has forked for messages. The SuperExec itself starts what stands in only."""
        return [child for warm in self.warm_processes(site) for child in _children(warm)]

    def warm_processes(self, site: str) -> list[psutil.Process]:
        """One or none; by its name, in the session of the site's SuperExec."""
        return [process for process in processes_of(read_record(SiteFiles(self.root / site).records[0])) if _name(process) == WARM]

    def super_node(self, site: str) -> list[psutil.Process]:
        return processes_of(read_record(SiteFiles(self.root / site).records[1]))

    def strays(self) -> int:
        """Processes that no record leads to, while no command runs."""
        coordinator = [self.federation.home.record(name) for name in ("run", "superexec", "superlink")]
        records = {COORDINATOR: coordinator, **{site: list(SiteFiles(self.root / site).records) for site in (A, B)}}
        known = {process.pid for paths in records.values() for path in paths for process in processes_of(read_record(path))}
        return sum(process.pid not in known for who in records for process in self.processes(who))

    def records(self) -> list[RoundRecord]:
        """Of every round and delivery so far."""
        return read_rounds(self.federation.home.rounds_file)

    def events(self) -> list[RunEvent]:
        """What the run that was started last has said so far."""
        return EventTail(self._job / "events.jsonl").read() if self._job else []

    def warnings(self) -> list[str]:
        """What the run that was started last has said of the runs before it."""
        return [event.sentence for event in self.events() if event.kind == "warning"]

    def report(self, new: Sequence[RoundRecord]) -> str:
        """What the coordinator's people read of trouble: in the run's own words, and in the notes of ``fedliver coordinator status``."""
        trouble = [event.sentence for event in self.events() if event.kind == "failed" or (event.update and event.update.refused)]
        notes = [
            f"Delivery after round {one.round}: {update.site}: {update.refused}"
            for one in new
            if one.kind == "delivery"
            for update in one.updates
            if update.refused
        ]
        ended = [self.run.sentence] if self.run and self.run.sentence and not any(event.kind == "failed" for event in self.events()) else []
        return " ".join([*trouble, *notes, *ended])

    def without_folder(self, text: str) -> str:
        """``text`` without the folder of this play, which is another one each time."""
        return text.replace(f"{self.root}/", "")

    def cases(self) -> int:
        """Approved cases at both sites."""
        return sum(case.state is State.APPROVED for site in (A, B) for case in SiteHome.open(self.root / site).store().cases())

    def wait(self, true: Callable[[], bool], what: str, seconds: float = _HANG) -> None:
        """Raises ``RuntimeError`` if it does not happen."""
        end = time.monotonic() + seconds
        while not true():
            if time.monotonic() > end:
                raise RuntimeError(f"it did not happen: {what}")
            time.sleep(0.05)

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.run is not None and self.run.process.poll() is not None


def _name(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children()
    return []


def own_disk(folder: Path, megabytes: int) -> None:
    """Put ``folder`` on a small disk of its own, in memory."""
    folder.mkdir(parents=True)
    do("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "tmpfs", str(folder))


def approve_patients(home: Path, seeds: range) -> None:
    """Generated patients, approved."""
    store = SiteHome.open(home).store()
    for seed in seeds:
        ct, labels = generate(PhantomSettings(seed=seed, spacing_mm=(8.0, 8.0, 8.0), lesions=1))
        case = store.add(Ct(ct, SourceIdentity(f"patient {seed}", f"study {seed}", f"series {seed}"), ()))
        store.approve(store.attach(case, labels))


def clock(offset: str) -> dict[str, str]:
    """The environment in which a program's clock is wrong by ``offset``, as libfaketime has it ("+1h")."""
    if not Path(_FAKETIME).exists():
        raise RuntimeError("the faults of the clock need Debian's package faketime")
    return {"LD_PRELOAD": _FAKETIME, "FAKETIME": offset}
