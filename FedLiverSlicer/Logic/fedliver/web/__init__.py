"""The workbench in a browser: another face on the panel's state machine. trame, Slicer and VTK are imported inside functions."""
