"""The training rows: checked X, y and weights, and the batches that training reads."""
