"""The coordinator: asks, collects, closes; trusts nobody and is trusted with as little."""
