"""A run's networks described and laid out for others: the model card and Kaggle's model folder."""
