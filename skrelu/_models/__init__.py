"""The mathematics: the two models, their penalty, the optimizers, and the scaling of the data."""
