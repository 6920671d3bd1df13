"""These modules handle settings, paths, files, time, devices and worker processes."""
