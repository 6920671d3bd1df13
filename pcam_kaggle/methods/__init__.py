"""A method is what a recipe trains; all methods have the same five functions."""
