"""Who may do what over the HTTP API: credentials, identities, permissions, and the log of changes."""
