"""Which model goes live: versions compared on the same rows, promoted through gates, and searched for."""
