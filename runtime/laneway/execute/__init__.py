"""Running a task's handler: async, in threads, in processes."""
