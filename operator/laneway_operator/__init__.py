"""The Kubernetes operator for Laneway's custom resources."""
