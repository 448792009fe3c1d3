"""The one exception a person is meant to read. Standard library only: the panel imports it before anything is installed."""


class FedLiverError(Exception):
    """Something a person can act on: one sentence that says what is wrong and what to do.

    Parameters
    ----------
    code:
        A short, stable identifier such as ``"not-hounsfield"``. It is all that ever leaves the machine.
    sentence:
        What is shown on this machine. It may name a file the user typed, never a patient.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence

    def __reduce__(self) -> tuple[type["FedLiverError"], tuple[str, str]]:
        """As it is handed from a worker process to the one that waits for it: without this it arrives as another error."""
        return type(self), (self.code, self.sentence)


class Cancelled(Exception):
    """The user asked for the work to stop; nothing was written."""
