"""The `laneway` command."""
