"""The matrix: the tests that all engines of a run have in common, with a column for each engine."""
