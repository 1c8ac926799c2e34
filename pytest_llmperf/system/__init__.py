"""What several processes of the package need: launching a child, timers, scheduling, text formats."""
