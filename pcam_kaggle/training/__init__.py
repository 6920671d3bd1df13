"""These modules train networks, save checkpoints, watch the time and run studies."""
