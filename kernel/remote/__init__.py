"""From a built kernel to the leaderboard row: push, watch, download, submit, rank."""
