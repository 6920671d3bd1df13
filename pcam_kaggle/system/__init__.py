"""Settings, paths, files, clock, device and workers: what every run needs."""
