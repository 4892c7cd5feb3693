"""The protocol's model check: every interleaving of a small world, with each rule as a switch."""
