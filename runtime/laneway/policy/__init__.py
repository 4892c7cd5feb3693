"""Pure decisions over plain data."""
