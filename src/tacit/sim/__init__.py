"""Simulation: the same turns, machine and closing as a deployment, on one computer."""
