"""One round: the machine that drives it, a client's turn, and closing it."""
