"""The studies as commands: what the teacher saves a clinician, and what scans without labels are worth."""
