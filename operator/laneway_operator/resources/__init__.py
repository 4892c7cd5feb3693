"""Pure builders of the Kubernetes objects that the operator owns, as plain dicts."""
