"""Training machinery: optimizer, checkpoints, time, several networks, studies."""
