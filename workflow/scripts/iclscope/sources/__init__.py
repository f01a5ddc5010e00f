"""Where models and data come from: wheels, the hub, local files."""
