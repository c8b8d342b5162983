"""The words of the language: nodes, regions and chunks. No array is touched in here, but by `evaluate`."""
