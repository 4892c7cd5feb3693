"""The SDK: App, tasks and handles."""
