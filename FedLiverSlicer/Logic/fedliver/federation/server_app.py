"""The ServerApp: Flower starts it at the coordinator for every run. It reads its job from the coordinator's home and runs the rounds."""

import os
import re
from pathlib import Path

import psutil
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedliver.coordinator.home import CoordinatorHome
from fedliver.coordinator.records import Job
from fedliver.federation.links import FlowerLinks
from fedliver.federation.rounds import Rounds
from fedliver.files import write_text
from fedliver.site.processes import ProcessRecord

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the job that the run's configuration names."""
    home = CoordinatorHome(Path(os.environ["FEDLIVER_COORDINATOR_HOME"]))
    name = str(context.run_config["job"])
    if not re.fullmatch(r"[0-9a-z-]{1,64}", name):
        raise ValueError("the run names no job")
    job = Job.model_validate_json((home.job(name) / "job.json").read_bytes())
    marker = ProcessRecord(role="ServerApp", pid=os.getpid(), started=psutil.Process().create_time())
    write_text(home.server_app(name), marker.model_dump_json())
    Rounds(home, job, FlowerLinks(grid)).run()
