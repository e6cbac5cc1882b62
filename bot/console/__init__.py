"""What stands behind the command line: starting processes, and the commands that run in place."""
