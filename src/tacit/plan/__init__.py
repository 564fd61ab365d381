"""The description of a federation, its check, and what follows from it."""
