"""What is learned: the data contract, tasks, the local loop, and algorithms."""
