"""The message review function of chat rooms: see README.md beside this file."""
