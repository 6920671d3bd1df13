"""These modules read the competition, decode its patches and assign them to folds."""
