"""The tests; a helper that several files need is imported as `tests.FOLDER.MODULE`."""
