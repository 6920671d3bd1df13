"""Makes one readable page of a recipe and the modules that it imports."""
