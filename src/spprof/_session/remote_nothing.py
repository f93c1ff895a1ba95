"""What a process is asked to run instead of something that it need not run any more: nothing."""
