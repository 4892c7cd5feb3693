"""The ports' implementations on real servers and in memory."""
