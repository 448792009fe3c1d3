"""3D Slicer's scripted module of FedLiver. Thin: it shows the panel's state and passes presses on; the work is in Logic/fedliver.

It imports nothing heavy, so that Slicer starts as fast as without it, and it uses widgets in PythonQt's manner only, so that it runs
in Slicer 5.8 (Qt 5) and later.
"""

import logging
import os
import sys

import ctk  # noqa: F401 (the .ui file needs its widgets registered)
import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.parameterNodeWrapper import parameterNodeWrapper
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleLogic, ScriptedLoadableModuleTest, ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

OLDEST_PYTHON = (3, 11)
FEDERATION_POLL_MILLISECONDS = 1000
COARSE = (3.0, 3.0, 5.0)


def findPackage():
    """Put the folder Logic on Python's path. ``Logic`` is a folder, never a package: all extensions share one Python."""
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Logic")
    if folder not in sys.path:
        sys.path.insert(0, folder)


def registerSampleData():
    """Offer a generated CT in the module Sample Data. It is made on this computer: nothing is downloaded."""
    import SampleData

    icons = os.path.join(os.path.dirname(__file__), "Resources", "Icons")
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="FedLiver",
        sampleName="FedLiverGeneratedCT",
        thumbnailFileName=os.path.join(icons, "FedLiverSlicer.png"),
        uris=(),  # of Slicer 5.8 on, these three must be of one length, also where nothing is downloaded
        fileNames=(),
        nodeNames=(),
        customDownloader=lambda source: generateSampleWithProgress(),
    )


def generateSampleWithProgress():
    """The generated CT, with a window that lives and takes no press meanwhile: a second press would make a second one."""
    dialog = slicer.util.createProgressDialog(maximum=0, labelText=_("Generating a CT on this computer…"), windowTitle=_("FedLiver"))
    dialog.setCancelButton(None)
    dialog.setWindowModality(qt.Qt.ApplicationModal)
    dialog.show()
    try:
        return FedLiverSlicerLogic().generateSample(live=slicer.app.processEvents)
    finally:
        dialog.close()


class FedLiverSlicer(ScriptedLoadableModule):
    """The module as Slicer lists it."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("FedLiver")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = ["SegmentEditor", "Segmentations", "Volumes"]
        parent.contributors = ["FedLiverSlicer contributors"]
        parent.helpText = _(
            "Outlines liver and tumour in CT, lets you correct them, and learns from approved corrections in a federation of hospitals, "
            "while no image leaves this computer. For research only, not for diagnosis."
        )
        parent.acknowledgementText = _(
            "Builds on Huang, Chain, Lee: Applications of Federated Learning in Medical Imaging (2025), and on Rakotoarisedy, Fragkiadakis, "
            "Haigron, Simon: Federated vs. centralized learning for medical images classification and segmentation (SPIE, 2025)."
        )
        slicer.app.connect("startupCompleted()", registerSampleData)


@parameterNodeWrapper
class FedLiverSlicerParameterNode:
    """What a saved scene remembers of the panel. Consent to the federation is not among it: a scene may come from someone else."""

    ct: slicer.vtkMRMLScalarVolumeNode
    segmentation: slicer.vtkMRMLSegmentationNode
    show3D: bool = False
    keepInside: bool = True
    softTissue: bool = False


class FedLiverSlicerWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel. ``self.workflow`` decides; this class shows its view and passes presses on."""

    def __init__(self, parent=None):
        self.logic = None
        self.workflow = None
        self.editor = None
        self._parameterNode = None
        self._bound = None
        self._syncing = False
        self._timers = []
        self._painter = None
        VTKObservationMixin.__init__(self)
        ScriptedLoadableModuleWidget.__init__(self, parent)  # calls setup() when there is no parent

    # ---- Slicer's calls

    def setup(self):
        """Build the panel. What fails is shown in it: Slicer itself would leave it blank."""
        ScriptedLoadableModuleWidget.setup(self)
        if sys.version_info < OLDEST_PYTHON:
            self._showProblem(_("FedLiver needs Python 3.11 or newer: install a newer 3D Slicer."))
            return
        try:
            self._setup()
        except Exception as error:
            logging.exception("FedLiver's panel could not be built")
            self._showProblem(_("FedLiver's panel could not be built: {error}. The Python console has the details.").format(error=error))
            raise

    def _setup(self):
        findPackage()
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/FedLiverSlicer.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        self._uiWidget = uiWidget
        uiWidget.setMRMLScene(slicer.mrmlScene)
        self.ui.ctSelector.setMRMLScene(slicer.mrmlScene)

        self.logic = FedLiverSlicerLogic()
        self.workflow = self.logic.makeWorkflow(self.resourcePath("requirements.txt"), self._onWorkflowChanged)
        self.editor = self._makeEditor()
        from fedliver.slicer.panel_show import PanelPainter
        from fedliver.slicer.panel_wiring import wire

        self._painter = PanelPainter(self.ui, _)
        wire(self.ui, self.workflow, self.onOpenInvitation, self.chooseFolder)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.NodeAddedEvent, self.onNodeAdded)

        self._takeUpTimer = self._makeTimer(0, self.takeUpParameters)
        self._takeUpTimer.setSingleShot(True)
        self._initializeTimer = self._makeTimer(0, self.onSceneEndClose)
        self._initializeTimer.setSingleShot(True)
        self._workTimer = self._makeTimer(self.workflow.tick_milliseconds, self.onWorkTimer)
        self.initializeParameterNode()
        self.workflow.refresh()
        self._show()
        self._reserveWidth()
        self._makeTimer(FEDERATION_POLL_MILLISECONDS, self.onFederationTimer).start()

    def cleanup(self):
        """The panel is destroyed, or reloaded. A site that has joined stays joined: its node does not need the panel."""
        for timer in self._timers:
            timer.stop()
        self._timers = []
        self.setParameterNode(None)
        self.removeObservers()
        if self.workflow:
            self.workflow.close()
        if self.editor:
            self.editor.close()

    def onReload(self):
        """Reload the package along with this file."""
        for name in [name for name in sys.modules if name == "fedliver" or name.startswith("fedliver.")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self):
        if self.workflow:
            self.initializeParameterNode()
            self.workflow.refresh()
            self.editor.enter()

    def exit(self):
        """Another module is opened: work goes on, and its result is there when the user comes back."""
        if self.workflow:
            self.editor.exit()

    def onSceneStartClose(self, caller, event):
        self.setParameterNode(None)
        self.workflow.scene_closed()
        self.editor.close()

    def onSceneEndClose(self, caller=None, event=None):
        if self.parent.isEntered and not slicer.mrmlScene.IsImporting():
            self.initializeParameterNode()

    def onSceneEndImport(self, caller, event):
        """The selectors learn of the nodes after this event: what the scene remembers is shown when the event loop comes round again."""
        self.setParameterNode(None)
        self._initializeTimer.start()

    def onNodeAdded(self, caller, event):
        """A CT may have been loaded while the panel is open. It has its voxels when the event loop comes round again."""
        self._initializeTimer.start()

    # ---- the scene's parameters

    def initializeParameterNode(self):
        """Take up what the scene remembers; choose the CT when there is only one to choose."""
        self.setParameterNode(self.logic.getParameterNode())
        if self._parameterNode.ct:
            return
        volumes = [node for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") if not node.IsA("vtkMRMLLabelMapVolumeNode")]
        volumes = [node for node in volumes if not node.GetHideFromEditors()]
        if len(volumes) == 1:
            self._parameterNode.ct = volumes[0]
            self.takeUpParameters()

    def setParameterNode(self, parameterNode):
        if self._parameterNode and parameterNode and self._parameterNode.parameterNode is parameterNode.parameterNode:
            self.takeUpParameters()
            return
        if self._parameterNode:
            self._bound.end()
            self.removeObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self._parameterNode = parameterNode
        if self._parameterNode:
            from fedliver.slicer.bound_parameters import BoundParameters

            self._bound = BoundParameters(self._parameterNode, vars(self.ui))
            self.addObserver(self._parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersChanged)
        self.takeUpParameters()

    def onParametersChanged(self, caller=None, event=None):
        """The reaction waits for the event loop: in the midst of a node's removal, setting a reference to it would bring MRML down."""
        if not self._syncing:
            self._takeUpTimer.start()

    def takeUpParameters(self):
        if not self._parameterNode or slicer.mrmlScene.IsImporting():
            return
        self._syncing = True
        try:
            self.workflow.check_nodes()
            self.workflow.case.take_up(self._parameterNode.ct, self._parameterNode.segmentation)
            self.editor.keep_inside(self._parameterNode.keepInside)
            self.editor.soft_tissue_only(self._parameterNode.softTissue)
        finally:
            self._syncing = False
        self._onWorkflowChanged()

    # ---- presses

    def onOpenInvitation(self):
        from pathlib import Path

        chosen = qt.QFileDialog.getOpenFileName(slicer.util.mainWindow(), _("Open invitation"), "", _("Invitations (*.json);;All files (*)"))
        path = chosen[0] if isinstance(chosen, (tuple, list)) else chosen
        if path:
            self.workflow.federation.open_invitation(Path(path))

    def chooseFolder(self):
        from pathlib import Path

        chosen = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Add scans: choose a folder with DICOM or NIfTI files"))
        return Path(chosen) if chosen else None

    def onWorkTimer(self):
        self.workflow.tick()
        if not self.workflow.needs_ticks:
            self._workTimer.stop()

    def onFederationTimer(self):
        self.workflow.check_nodes()
        self.workflow.poll_federation()

    # ---- showing

    def _onWorkflowChanged(self):
        if self.workflow is None or self.editor is None:
            return
        if self.workflow.needs_ticks and not self._workTimer.isActive():
            self._workTimer.start()
        if self._parameterNode and not self._syncing:
            self._syncing = True
            case, worklist = self.workflow.case, self.workflow.worklist
            if worklist.opened_ct is not None:
                self._parameterNode.ct, worklist.opened_ct = worklist.opened_ct, None
            if self._parameterNode.segmentation is not case.segmentation_node:
                self._parameterNode.segmentation = case.segmentation_node
            self._syncing = False
        self._show()

    def _show(self):
        self.editor.bind(self.workflow.case.segmentation_node, self.workflow.case.ct_node)
        self._painter.show(self.workflow.view, self.workflow.state)

    def _showProblem(self, sentence):
        label = qt.QLabel(sentence)
        label.wordWrap = True
        self.layout.addWidget(label)

    def _reserveWidth(self):
        """As wide as the widest section from the start: else the views jump, and are drawn twice, when a result opens the next one."""
        section = self.ui.refineSection
        was, section.collapsed = section.collapsed, False
        self._uiWidget.minimumWidth = self._uiWidget.layout().minimumSize().width()
        section.collapsed = was

    def _makeEditor(self):
        from fedliver.slicer.editor import RefineEditor

        widget = slicer.qMRMLSegmentEditorWidget()
        self.ui.editorPlaceholder.layout().addWidget(widget)
        return RefineEditor(widget, slicer.mrmlScene)

    def _makeTimer(self, interval, slot):
        timer = qt.QTimer()
        timer.setInterval(interval)
        timer.connect("timeout()", slot)
        self._timers.append(timer)
        return timer


class FedLiverSlicerLogic(ScriptedLoadableModuleLogic):
    """A facade for scripts: it only forwards to the package."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        findPackage()

    def getParameterNode(self):
        return FedLiverSlicerParameterNode(super().getParameterNode())

    def makeWorkflow(self, requirements, changed, **instead):
        """The panel's workflow over this computer's site. ``instead``: what takes the place of this computer's own, for tests."""
        from fedliver.slicer.desktop_workflow import desktop_workflow

        return desktop_workflow(requirements, changed, lambda question: slicer.util.confirmOkCancelDisplay(question, _("FedLiver")), translate, **instead)

    def segment(self, volumeNode, watcher=None):
        """Segment a CT and return the new segmentation node. Waits for the result; the panel does the same without waiting."""
        from fedliver.slicer import scene
        from fedliver.slicer.home_desk import HomeDesk
        from fedliver.watch import Silent

        proposal = HomeDesk().segment(scene.volume_from_node(volumeNode), watcher or Silent())
        return scene.segmentation_from_labels(proposal.labels, volumeNode, scene.segmentation_name(str(proposal.teacher)))

    def generateSample(self, seed=0, spacing=(1.5, 1.5, 3.0), live=None):
        """A generated CT as a volume node, in the slice views. ``live``: what lets the window live while it is made in a thread."""
        from fedliver.slicer.sample_data import generate_sample

        return generate_sample(seed, spacing, live)


class FedLiverSlicerTest(ScriptedLoadableModuleTest):
    """Runs inside the desktop Slicer, on a generated CT. What it checks is in ``fedliver.slicer.self_test``."""

    def setUp(self):
        findPackage()
        slicer.mrmlScene.Clear()

    def runTest(self):
        for test in (self.test_LabelsSurviveTheScene, self.test_PanelFollowsTheScene, self.test_CaseGoesThroughTheWorklist, self.test_TeacherSegments):
            self.setUp()
            test()

    def test_LabelsSurviveTheScene(self):
        from fedliver.slicer import self_test

        self.delayDisplay(_("Labels to the scene and back"))
        self_test.labels_survive_the_scene()

    def test_PanelFollowsTheScene(self):
        from fedliver.slicer import self_test

        self.delayDisplay(_("The panel follows the scene"))
        self_test.panel_follows_the_scene(
            self.selectPanel, slicer.mrmlScene.Clear, slicer.app.processEvents, FedLiverSlicerLogic().generateSample(spacing=COARSE)
        )

    def test_CaseGoesThroughTheWorklist(self):
        from fedliver.slicer import self_test

        self.delayDisplay(self_test.case_goes_through_the_worklist(self.selectPanel, slicer.app.processEvents))

    @staticmethod
    def selectPanel():
        slicer.util.selectModule("FedLiverSlicer")
        return slicer.modules.FedLiverSlicerWidget

    def test_TeacherSegments(self):
        from fedliver.slicer import self_test

        logic = FedLiverSlicerLogic()
        self.delayDisplay(self_test.teacher_segments(logic.segment, logic.generateSample(spacing=COARSE)))
