"""Data sets as hospitals and challenges keep them: which files belong together, whether they may train, and how a teacher does on them."""
