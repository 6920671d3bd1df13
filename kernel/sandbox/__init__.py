"""Kaggle on localhost: serves the protocol, runs pushed kernels, scores submissions."""
