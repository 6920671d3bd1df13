"""These modules build the networks: pixels in, one probability out."""
