"""Small tools that know nothing of tasks."""
