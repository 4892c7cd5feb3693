"""What passes look at: manifests, Secrets, topics and the limiter."""
