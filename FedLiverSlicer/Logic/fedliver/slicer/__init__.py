"""3D Slicer's side of the package: MRML scene <-> arrays, and the panel, which the desktop and the browser share.

The way of a press: a widget (``panel_wiring``) calls a method of a part of the ``workflow``, which works on scene and site and tells what happened
(``panel_events``); ``panel_advance`` makes of state and event the next state (``panel_state``), ``panel_view`` the words for it, and
``panel_show`` puts them onto the widgets. State, events, view and controls use the standard library only, so that the panel opens before anything
is installed; ``slicer`` and ``vtk`` are imported inside functions.

- **The workflow**, in parts: each is given the ``panel_session`` (the state, one job at a time, looks aside, errors in words) and the few other parts that
  it needs. ``case_work`` (the case in hand) with ``doubt_work`` (where the teacher was not sure); on it ``segmenting_work``, ``approving_work``,
  ``worklist_work`` (next case, export), ``adding_work`` (scans into the worklist). ``ahead_work`` (segmenting ahead), ``worklist_counts``,
  ``packages_work`` (what must be installed), ``learning_work``, ``environment_work``, ``federation_work``. ``workflow`` puts them together,
  ``desktop_workflow`` does so for the desktop. ``translation``: how their sentences, and those of the controls and lists, find the user's language.
- **What each control looks like**: ``controls`` (what a control is), ``case_controls``, ``teacher_controls``, ``federation_controls``; all in
  ``panel_controls``. Lists for rich-text labels: ``panel_html``. What is asked before joining: ``consent``.
- **What stands behind the workflow**: ``site_desk`` (the site, as the panel asks it) and ``home_desk`` (the real one, with ``ahead``, ``adding``,
  ``learning``); ``federation_link``; ``installation``; ``preferences``.
- **The scene**: ``scene`` (nodes <-> volumes), ``editor`` (the Segment Editor), ``edits``, ``overlay``, ``charts``, ``correction_clock``;
  ``remembered`` and ``kept_proposal`` (what a saved scene knows of a case); ``dicom_database``; ``sample_data``.
- **The window lives**: ``background`` (one worker, and how it gets Python's lock), ``preload`` (imports).
- **Without a window**: ``headless``, ``scene_file``; ``self_test`` is the module's own test in the desktop.
"""
