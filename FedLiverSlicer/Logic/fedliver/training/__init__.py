"""Learning: the data pipeline, supervised training of the student, and the recipe of the shipped teacher."""
