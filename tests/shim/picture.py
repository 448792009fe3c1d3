"""Draws the panel for the README: ``python tests/shim/picture.py`` writes docs/images/panel.png.

The real module file and .ui, on the shim: the look of Slicer's own widgets differs a little, and the Segment Editor is only named.
"""

import os
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path[:0] = [str(REPOSITORY / "FedLiverSlicer" / "Logic"), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
from desktop import Desktop  # noqa: E402
from seams import TEACHER, Desk, Link, seams  # noqa: E402

from fedliver.cases.effort import effort  # noqa: E402
from fedliver.cases.measure import measure  # noqa: E402
from fedliver.labels import LIVER, TUMOUR  # noqa: E402
from fedliver.phantom import PhantomSettings, generate  # noqa: E402
from fedliver.slicer import panel_events as on  # noqa: E402
from fedliver.slicer import scene  # noqa: E402
from fedliver.slicer.panel_state import Account, Check, Effort, Lesion, Measurements, Place, Round  # noqa: E402


def main(target: Path) -> None:
    """Show a day's work: a segmented, corrected and approved case at a site that is in round 2."""
    ct, labels = generate(PhantomSettings(seed=2, spacing_mm=(5.0, 5.0, 8.0)))
    with Desktop() as desktop:
        node = scene.node_from_volume(ct, "CT abdomen, portal venous")
        panel = desktop.open_panel(**seams(desk=Desk(approved=6), link=Link(before=[on.Joined("North-West Liver Study")])))
        segmentation = scene.segmentation_from_labels(labels, node, scene.segmentation_name(str(TEACHER)))
        panel.workflow.choose_segmentation(segmentation)
        liver, tumour = (float((labels.array >= value).sum()) * ct.geometry.voxel_ml for value in (1, 2))
        checks = (
            Check("same-grid", True, "The segmentation lies on the CT's grid."),
            Check("legal-labels", True, "Every label is background, liver or tumour."),
            Check("liver-volume", True, f"The liver measures {liver:.0f} ml."),
            Check("tumour-in-liver", True, "Every tumour lies in or against the liver."),
        )
        found = measure(labels).lesions
        lesions = tuple(Lesion(lesion.ml, lesion.diameter_mm) for lesion in found)
        cost = effort(labels.with_array(np.where(labels.array == TUMOUR, LIVER, labels.array)), labels)  # as if the teacher had missed every tumour
        measured = Measurements(liver, tumour, 24.0, lesions)
        spent = Effort(260.0, cost.ml_changed, cost.slices_touched, cost.slices, cost.added_path_length_mm)
        panel.workflow._tell(on.Segmented(segmentation.GetName(), measured), on.CaseChecked(checks, 7, "", spent, measured))
        panel.workflow._tell(on.PlacesKnown((Place((0.0, 0.0, 0.0), "tumour"),) * 4, True), on.WaitingCounted(12), on.CurvesKnown(True))
        panel.workflow._tell(on.LedgerRead(Account(2, 37.9, 56.8, None)))
        panel.workflow._tell(on.RoundReported(Round(2, 5, 130, 200, 0.214, 0.931)), on.TeacherOffered("North-West Liver Study, round 1"))
        desktop.events()
        desktop.picture(target)
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "images" / "panel.png")
