"""Ships the kernel: bundles it at home; never imports a deep-learning framework."""
