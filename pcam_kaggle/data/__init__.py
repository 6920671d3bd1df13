"""The competition on disk: tables, decoded patches, batches, folds."""
