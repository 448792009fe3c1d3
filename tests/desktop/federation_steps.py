"""A coordinator on this machine, in a Python of its own, and the panel as its site."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

import slicer
from walk import Pause, Until, Walk, expect

Steps = Generator[Until | Pause, None, str | None]
LEAVE_SECONDS = 5.0
_PROGRAM = "from fedliver.cli.main import main; main()"
_folder = Path(tempfile.mkdtemp(prefix="fedliver-coordinator-"))
_running: list[subprocess.Popen[str]] = []


def _command(*words: str) -> subprocess.Popen[str]:
    """``fedliver`` with the Python of the federation's environment, and without Slicer's own folders on its path."""
    logic = Path(slicer.modules.fedliverslicer.path).parent / "Logic"
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "LD_LIBRARY_PATH")}
    variables["PYTHONPATH"] = str(logic)
    command = [os.environ["FEDLIVER_FEDERATION_PYTHON"], "-c", _PROGRAM, "coordinator", *words, "--home", str(_folder / "home")]
    started = subprocess.Popen(command, env=variables, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    _running.append(started)
    return started


def _ended(*words: str) -> Generator[Until | Pause, None, str]:
    started = _command(*words)
    yield Until(lambda: started.poll() is not None, 120.0, f"coordinator {words[0]}")
    said = started.stdout.read() if started.stdout else ""
    expect(started.returncode == 0, f"coordinator {words[0]}: {said[-400:]}")
    return said


def invitation_and_test(walk: Walk) -> Steps:
    """Open an invitation; the connection test names the step that fails while the coordinator is stopped, and ticks every step once it runs."""
    if not os.environ.get("FEDLIVER_FEDERATION_PYTHON"):
        return "not tried: FEDLIVER_FEDERATION_PYTHON names no environment"
    yield from _ended("init", "--host", "127.0.0.1", "--quorum", "1", "--steps", "4", "--deadline", "600", "--name", "Walk")
    yield from _ended("invite", "This desk", "-o", str(_folder / "invitation.json"))
    slicer.util.selectModule("FedLiverSlicer")
    walk.panel.workflow.federation.open_invitation(_folder / "invitation.json")
    from fedliver.slicer.panel_state import Membership

    yield Until(lambda: walk.workflow.state.membership is Membership.INVITED, 60.0, "the invitation")
    yield Pause(0.5)
    expect(not walk.panel.ui.joinButton.enabled and bool(walk.panel.ui.joinButton.toolTip), "Join is live before consent")
    expect("never leaves" in str(walk.panel.ui.leavesLabel.text), "the consent does not say what stays")
    walk.picture("9-invited", at=walk.panel.ui.federationSection)
    walk.press("testButton")
    yield walk.idle(60.0)
    stopped = walk.workflow.state.connection
    expect(bool(stopped) and not stopped[-1].passed, "the test passes without a coordinator")
    yield from _ended("start")
    yield from _ended("approve", str(walk.workflow.link.request_file))
    walk.press("testButton")
    yield walk.idle(60.0)
    steps = walk.workflow.state.connection
    expect(all(step.passed for step in steps), f"{[step.sentence for step in steps if not step.passed]}")
    return f"stopped: “{stopped[-1].sentence}”; started: {len(steps)} ticks"


def join_and_round(walk: Walk) -> Steps:
    """Tick, join, one round on the case that was approved, live numbers, curves, the ledger; the new teacher compared."""
    from fedliver.site.rules import changed_rules
    from fedliver.slicer.panel_state import Membership

    if not os.environ.get("FEDLIVER_FEDERATION_PYTHON"):
        return "not tried: FEDLIVER_FEDERATION_PYTHON names no environment"
    changed_rules(walk.workflow.link.home, minimum_cases=1, minimum_metric_cases=1)  # made-up patients have nothing to hide
    walk.press("optInCheckBox")
    yield Pause(0.3)
    walk.press("joinButton")
    yield Until(lambda: walk.workflow.state.membership is Membership.MEMBER, 120.0, "membership")
    run = _command("run", "--rounds", "1")
    seen: list[str] = []

    def note() -> bool:
        words = str(walk.panel.ui.federationLabel.text)
        if words not in seen:
            seen.append(words)
        return run.poll() is not None

    walk.pulse.reset()
    yield Until(note, 420.0, "the round")
    pause = walk.pulse.longest()
    said = run.stdout.read() if run.stdout else ""
    expect(run.returncode == 0, said[-600:])
    yield Until(lambda: walk.workflow.state.candidate is not None, 60.0, "the new teacher")
    expect(bool(walk.panel.ui.ledgerLabel.text), "the ledger is empty")
    walk.press("curvesButton")
    yield Pause(1.0)
    charts = slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode")
    walk.press("curvesButton")
    yield Pause(0.5)
    expect(charts == slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLPlotChartNode") == 1, "the chart was made twice")
    slicer.util.resetSliceViews()
    yield Pause(0.5)
    walk.picture("10-round", at=walk.panel.ui.federationSection)
    walk.press("adoptButton")
    yield walk.idle(1200.0)
    yield Pause(0.3)
    words = f"{len(seen)} states shown, the last “{seen[-1]}”; longest pause {pause:.2f} s"
    return f"{words}; “{walk.panel.ui.statusLabel.text}”; teacher {walk.workflow.state.teacher}"


def leave(walk: Walk) -> Steps:
    """Leave: within five seconds, and no process of ours is left."""
    import time

    import psutil

    from fedliver.slicer.panel_state import Membership

    if not os.environ.get("FEDLIVER_FEDERATION_PYTHON"):
        return "not tried: FEDLIVER_FEDERATION_PYTHON names no environment"
    began = time.monotonic()
    walk.press("leaveButton")
    yield Until(lambda: walk.workflow.state.membership not in (Membership.MEMBER, Membership.LEAVING, Membership.JOINING), 30.0, "leaving")
    took = time.monotonic() - began
    yield from _ended("stop")
    home = str(walk.workflow.link.home)
    left = [
        p.info["cmdline"]
        for p in psutil.process_iter(["cmdline"])
        if home in " ".join(p.info["cmdline"] or []) or str(_folder) in " ".join(p.info["cmdline"] or [])
    ]
    expect(not left, f"still alive: {json.dumps(left)[:300]}")
    expect(took <= LEAVE_SECONDS, f"it took {took:.1f} s")
    return f"left in {took:.1f} s; no process of ours is alive"


def tidy() -> None:
    """End the coordinator, whatever happened, and leave nothing of it."""
    if (_folder / "home").exists() and os.environ.get("FEDLIVER_FEDERATION_PYTHON"):
        _command("stop").wait(30)
    for started in _running:
        if started.poll() is None:
            started.terminate()
    shutil.rmtree(_folder, ignore_errors=True)
