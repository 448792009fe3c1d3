"""Two networks that travel as one: imported only where torch is needed."""

import torch


class CoarseToFine(torch.nn.Module):
    """``finder`` looks for the liver in the whole scan; ``fine`` segments liver and tumour around it.

    Called, it is its fine part. The finder takes no gradient, so that sites train, and the federation averages, the part that clinicians correct.
    """

    def __init__(self, fine: torch.nn.Module, finder: torch.nn.Module) -> None:
        super().__init__()
        self.fine = fine
        self.finder = finder.requires_grad_(False)

    def forward(self, patch: torch.Tensor) -> torch.Tensor:
        """(batch, 1, i, j, k) to (batch, 3, i, j, k) logits at the fine spacing."""
        return self.fine(patch)
