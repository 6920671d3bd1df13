"""What was measured, and what is known of each network: one file each."""
