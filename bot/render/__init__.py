"""Domain values to cards, plots and messages."""
