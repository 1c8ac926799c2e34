"""What a run does with the store: which runs its tests are compared with, and whether it is stored itself."""
