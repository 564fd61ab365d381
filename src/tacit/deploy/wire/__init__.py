"""What crosses the network: messages, vectors, signatures."""
