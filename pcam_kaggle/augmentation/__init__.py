"""These modules vary the training patches at random."""
