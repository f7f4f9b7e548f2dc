"""Repairs what no event has told: asks Amazon, and applies the differences the way of all events."""
