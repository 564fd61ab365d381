"""Public test doubles: time that jumps, networks that lose, disks that fill, parties that lie."""
