"""The same federation between real machines: coordinator, clients, wire, identity and store."""
