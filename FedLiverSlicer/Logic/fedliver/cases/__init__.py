"""The cases of one site: the store, quality checks, pseudonyms, and the shelf of teacher versions. Nothing here leaves the machine."""
