"""3D Slicer's side of the package: MRML scene <-> arrays, and the panel's state machine.

``panel_state`` and ``panel_view`` use the standard library only, so the panel opens before anything is installed and a web page
can show the same panel. ``scene`` and ``scene_file`` import ``slicer`` and ``vtk`` inside functions.
"""
