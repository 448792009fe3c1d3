"""Stands in for ``fedliver.federation.launch`` at a site whose machine dies when it is to send its masked update. For tests."""

import os
import signal
from pathlib import Path

from fedliver.errors import FedLiverError
from fedliver.federation import guard, launch
from fedliver.federation.messages import unpack_words
from fedliver.federation.secure.words import AnyStep
from fedliver.site.federation import SiteFiles
from fedliver.site.processes import processes_of, read_record

HOME = Path(os.environ["FEDLIVER_HOME"])


def dying(home: Path) -> launch.App:
    honest = guarded(home)

    def app(message: guard.Message, context: guard.Context) -> guard.Message:
        try:
            step = unpack_words(message.content, AnyStep).root.step
        except FedLiverError:
            step = ""
        if step == "mask":
            for record in SiteFiles(home).records:
                for process in processes_of(read_record(record)):
                    if process.pid != os.getpid():
                        os.kill(process.pid, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return honest(message=message, context=context)  # type: ignore[call-arg]

    return app


guarded = launch.guarded

if __name__ == "__main__":
    assert HOME.is_dir()
    launch.guarded = dying
    launch.main()
