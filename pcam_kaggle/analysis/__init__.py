"""These modules measure patches, score and explain predictions, and draw figures."""
