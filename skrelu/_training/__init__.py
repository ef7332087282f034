"""A training run: the loop, the checkpoint, what looks at each iteration, and the verdict on the result."""
