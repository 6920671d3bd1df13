"""Predictions: test-time views, ensembles, calibration, the submission."""
