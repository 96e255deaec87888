"""The pages of the desk, a file each: what a route reads, asks of the desk and shows."""
