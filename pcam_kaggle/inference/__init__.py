"""These modules predict, average, calibrate and write the submission."""
