"""Network-aware mechanisms: trades within what the feeder bears."""
