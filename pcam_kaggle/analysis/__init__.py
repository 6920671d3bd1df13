"""Scores, explanations and pictures; only recipes that ask for them load them."""
