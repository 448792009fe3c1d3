"""Stands in for ``fedliver.federation.launch`` at a site whose machine is shut down when it is to send its masked update. For tests."""

import os
import signal
from pathlib import Path

from fedliver.federation import launch
from fedliver.federation.guard import App
from fedliver.site.federation import SiteFiles
from fedliver.site.processes import processes_of, read_record


def dying(home: Path) -> App:
    from flwr.app import Context, Message

    from fedliver.errors import FedLiverError
    from fedliver.federation.messages import unpack_words
    from fedliver.federation.secure.words import AnyStep

    honest = guarded(home)

    def app(message: Message, context: Context) -> Message:
        try:
            step = unpack_words(message.content, AnyStep).root.step
        except FedLiverError:
            step = "train"
        if step == "mask":
            shut_down(home)
        return honest(message=message, context=context)

    return app


def shut_down(home: Path) -> None:
    """End everything of the site, this process last. The SuperNode is asked to, as by a machine that is shut down: a dead one Flower notices after a minute."""
    executor, node = (processes_of(read_record(record)) for record in SiteFiles(home).records)
    for process in node:
        process.terminate()
    for process in executor:  # the warm process is among them, and this one ends with it
        if process.pid != os.getpid():
            process.kill()
    os.kill(os.getpid(), signal.SIGKILL)


guarded = launch.guarded

if __name__ == "__main__":
    launch.guarded = dying
    launch.main()
