"""The loss: cross-entropy over the three classes plus Dice over the regions that are reported (liver with its tumours; tumour).

Region-based Dice follows nnU-Net (Isensee et al. 2021); where tumours were annotated as liver, the two classes are merged before they are compared
(marginal loss, Shi et al. 2021), so that such a case teaches nothing false about tumours.
"""

from typing import TYPE_CHECKING

from fedliver.labels import BACKGROUND, LIVER, TUMOUR

if TYPE_CHECKING:
    import torch

IGNORE = 255
"""A voxel with this label teaches nothing: the rim of a pseudo-label, say."""
_SMOOTH = 1.0
TUMOUR_WEIGHT = 0.5


def segmentation_loss(logits: "torch.Tensor", labels: "torch.Tensor", tumour_labelled: "torch.Tensor") -> "torch.Tensor":
    """Mean loss over a batch.

    Parameters
    ----------
    logits:
        (batch, 3, i, j, k) float32.
    labels:
        (batch, i, j, k) int64 in {0, 1, 2}, or :data:`IGNORE` where nobody knows.
    tumour_labelled:
        (batch,) bool.
    """
    import torch

    log_probability = torch.log_softmax(logits, dim=1)
    total = logits.new_zeros(())
    for one, target, tumour_known in zip(log_probability, labels, tumour_labelled.tolist(), strict=True):
        known = (target != IGNORE).to(one.dtype)
        liver = torch.logaddexp(one[LIVER], one[TUMOUR])
        in_liver = ((target > 0) & (target != IGNORE)).to(one.dtype)
        of_target = one.gather(0, target.clamp(max=TUMOUR)[None])[0] if tumour_known else torch.where(target > 0, liver, one[BACKGROUND])
        total = total - (of_target * known).sum() / known.sum().clamp(min=1) + _dice_loss(liver.exp() * known, in_liver)
        if tumour_known and bool((target == TUMOUR).any()):
            total = total + TUMOUR_WEIGHT * _dice_loss(one[TUMOUR].exp() * known, (target == TUMOUR).to(one.dtype))
    return total / len(labels)


def _dice_loss(probability: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
    overlap = (probability * target).sum()
    return 1 - (2 * overlap + _SMOOTH) / (probability.sum() + target.sum() + _SMOOTH)
