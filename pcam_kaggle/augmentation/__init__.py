"""Random views of the training patches."""
