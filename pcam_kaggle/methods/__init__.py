"""Methods: what a recipe trains, all with the same five functions."""
